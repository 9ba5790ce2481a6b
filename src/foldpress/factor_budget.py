"""Factorization to a budget of time: forms are chosen by the times of single layers, then the network itself is timed.

As for pruning (`time_budget`), the target that the table is asked for is corrected by measured over predicted.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

import onnx_ir as ir

from foldpress.benchmark.plan import LatencyPlan
from foldpress.choice import elsewhere
from foldpress.data import Dataset
from foldpress.errors import RequestError
from foldpress.external import graph_digest
from foldpress.latency_cache import LatencyCache
from foldpress.layer_times import measure_layers
from foldpress.optimizer.allocation import BudgetError
from foldpress.optimizer.blas import one_thread
from foldpress.optimizer.factorize.factorize import Factorize, with_factors
from foldpress.optimizer.factorize.forms import factorizable
from foldpress.optimizer.factorize.offers import LayerOffers
from foldpress.optimizer.factorize.request import Factorization
from foldpress.optimizer.passes import LogEntry
from foldpress.optimizer.press import Press
from foldpress.optimizer.rounds import Rounds
from foldpress.time_budget import Search, Sketch, taken_over


@dataclass(frozen=True)
class SettledFactors:
    """What factorization is asked for in the end, and the log of how it came about."""

    factorize: Factorization
    log: tuple[LogEntry, ...]


def meet_factor_latency(press: Press, samples: Dataset, plan: LatencyPlan, cache: LatencyCache) -> SettledFactors:
    """Find what the table has to be asked for so that the network takes the share `latency` of its time before.

    Args:
        press: at the precision that ships, pruned as it will be; its `factorize` has a budget of time.
        samples: real inputs to time on.
        plan: where to time; for how long is decided here.
        cache: a search that was done before on this machine is taken over, so that two runs give the same graph.

    Raises:
        BudgetError: says the smallest share that was measured.
        RequestError: the network is for another machine than this one, or every round has widths of its own.
    """
    asked = press.factorize
    assert asked is not None  # noqa: S101  # it is what the caller asks for
    assert asked.latency is not None  # noqa: S101
    _check(press, asked, plan)
    model, one = press.offers()
    timed = measure_layers(press, model, factorizable(model, asked.method, asked.protect)[0], samples, plan, cache)
    measured = replace(asked, times=timed.times)
    key = _digest(press, measured)
    if known := cache.read(key):
        best, log = taken_over(known)
    else:
        best, log = _search(press, model, replace(one, times=timed.times), samples, plan).run(asked.latency)
        cache.keep({key: best.__dict__})
    return SettledFactors(replace(measured, latency=best.target), (*timed.log, *log))


def _search(press: Press, model: ir.Model, one: Factorize, samples: Dataset, plan: LatencyPlan) -> Search:
    few, total = Rounds.undivided(samples).few(), one.costs(model).total
    with one_thread():
        rows = one.offers(model)
    if not any(row.offers for row in rows):
        raise _nothing_faster(rows, one.budget)

    def sketch(target: float) -> Sketch:
        with one_thread():
            replace(one, budget=target).choose(model, rows)  # as the pass will: what is timed has to be what ships
        taken = [row.taken for row in rows]
        predicted = 1 - sum(offer.saved for offer in taken if offer is not None) / total
        cuts = tuple(str(offer.option) if offer is not None else "" for offer in taken)
        return Sketch(cuts, predicted, press.rough(with_factors(model, rows, {}), few))

    least = 1 - sum(row.saved.max() for row in rows) / total
    return Search(sketch, least, press.rough(model, few), samples, plan, "factorize")


def _nothing_faster(rows: Sequence[LayerOffers], budget: float) -> BudgetError:
    """Says how near the nearest comes."""
    name, nearest = min(
        ((row.layer.name, row.fastest) for row in rows if row.fastest is not None), key=lambda pair: pair[1].share
    )
    why = f"no form of any layer is faster (the nearest, {nearest.option} of {name}, takes {nearest.share:.2f} of its time), so"
    return BudgetError("latency", budget, 1.0, f"{why} the layers allow", "factorize")


def _check(press: Press, asked: Factorization, plan: LatencyPlan) -> None:
    if why := elsewhere(press.target, plan.provider):
        raise RequestError(
            f"latency = {asked.latency} cannot be measured here: {why}", mend="give a budget in macs, or run it there"
        )
    if press.prune is not None and press.prune.learns:
        raise RequestError(
            "[factorize] latency after structured pruning: each fold is pruned to widths of its own, which were not timed",
            mend="give [factorize] a budget in macs, or leave one of the two out",
        )


def _digest(press: Press, asked: Factorization) -> str:
    """Changes with anything that the search depends on."""
    assert asked.times is not None  # noqa: S101  # see meet_factor_latency
    facts = [
        press.describe(), press.keep_float, asked.latency, asked.method, asked.protect, asked.times.whole,
        {name: dict(times) for name, times in asked.times.layers.items()}, press.fingerprint(), graph_digest(press.model),
    ]  # fmt: skip
    return f"factors {hashlib.sha256(json.dumps(facts).encode()).hexdigest()}"
