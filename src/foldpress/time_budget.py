"""Pruning to a budget of time: widths are chosen by a table of latencies, then the pruned network itself is timed.

A table predicts well which widths are fast, and less well how fast the whole is. So the graph is made, unrepaired, and timed in
turns with the unpruned one in the same precision; the target that the table is asked for is corrected by measured over
predicted, until what is measured meets the budget.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import onnx_ir as ir

from foldpress.benchmark.plan import LatencyPlan
from foldpress.choice import elsewhere
from foldpress.data import Dataset
from foldpress.errors import RequestError
from foldpress.external import graph_digest
from foldpress.latency_cache import LatencyCache
from foldpress.latency_table import measure_table
from foldpress.optimizer.allocation import BudgetError
from foldpress.optimizer.ledger import Latencies, LatencyLedger
from foldpress.optimizer.passes import LogEntry
from foldpress.optimizer.press import Press
from foldpress.optimizer.prune import Prune
from foldpress.optimizer.structured import prunable
from foldpress.pruned_time import enough, more, time_ratio

_ROUNDS = 6
_WITHIN = 0.05  # of the budget; channels go by steps, so that it is rarely met exactly
_NEAR = 0.02  # of the budget: near enough to stop looking
_OVER = 0.01  # more time than the budget that noise may make
_NAME = "latency"


@dataclass(frozen=True)
class Settled:
    """What pruning is asked for in the end, and the log of how it came about."""

    prune: Prune
    log: tuple[LogEntry, ...]


@dataclass(frozen=True, eq=False)
class Sketch:
    """What a table makes of a target: which cuts these are, the share of the time that it predicts, and the graph, unrepaired."""

    cuts: tuple[Any, ...]
    predicted: float
    graph: ir.Model


@dataclass(frozen=True)
class Trial:
    """A share that the table was asked for, what it predicted, and what was measured."""

    target: float
    predicted: float
    measured: float


def meet_latency(press: Press, samples: Dataset, plan: LatencyPlan, cache: LatencyCache) -> Settled:
    """Find what the table has to be asked for so that the network takes the share `latency` of its time.

    Args:
        press: at the precision that ships; its `prune` has a budget of time.
        samples: real inputs to time on.
        plan: where to time; for how long is decided here.
        cache: a search that was done before on this machine is taken over, so that two runs give the same graph.

    Raises:
        BudgetError: says the smallest share that was measured.
        RequestError: the network is for another machine than this one.
    """
    prune = press.prune
    assert prune is not None  # noqa: S101  # it is what the caller asks for
    assert prune.latency is not None  # noqa: S101
    if why := elsewhere(press.target, plan.provider):
        raise RequestError(
            f"latency = {prune.latency} cannot be measured here: {why}", mend="give a budget in macs, or run it there"
        )
    press.collect()  # which refuses a network that cannot be pruned, before time is spent on it
    table = measure_table(press, samples, plan, cache)
    measured = replace(prune, latencies=table.latencies)
    key = _digest(press, measured, table.latencies)
    if known := cache.read(key):
        best, log = taken_over(known)
    else:
        best, log = _search(press, measured, table.latencies, samples, plan).run(prune.latency)
        cache.keep({key: best.__dict__})
    return Settled(replace(measured, latency=best.target), (*table.log, *log))


def taken_over(known: Mapping[str, float]) -> tuple[Trial, list[LogEntry]]:
    """What an earlier search came to, and the log of it."""
    best = Trial(known["target"], known["predicted"], known["measured"])
    return best, [_entry("done", best, "taken over from an earlier run on this machine")]


def _search(press: Press, prune: Prune, latencies: Latencies, samples: Dataset, plan: LatencyPlan) -> "Search":
    ledger = LatencyLedger(press.model, prunable(press.model, press.protected)[0], latencies)
    least = {name: min(curve.milliseconds) for name, curve in latencies.curves.items()}

    def sketch(target: float) -> Sketch:
        widths, graph = press.pruning(replace(prune, latency=target)).sketch()
        return Sketch(tuple(widths.values()), ledger.predict(widths) / ledger.total, graph)

    return Search(sketch, ledger.predict(least) / ledger.total, press.unpruned(), samples, plan)


class Search:
    """Trials of one network, and the interval that the right target lies in.

    Args:
        sketch: what a share of the predicted time comes to.
        least: the smallest share that can be predicted.
        reference: what the share is of.
        samples: real inputs to time on.
        plan: where to time.
        table: of the recipe that asks for it.
    """

    def __init__(
        self,
        sketch: Callable[[float], Sketch],
        least: float,
        reference: ir.Model,
        samples: Dataset,
        plan: LatencyPlan,
        table: str = "prune",
    ) -> None:
        self._sketch, self._least, self._reference = sketch, least, reference
        self._samples, self._plan, self._table = samples, plan, table
        self.tried: list[Trial] = []
        self._measured: dict[tuple[Any, ...], float] = {}  # by the cuts

    def run(self, budget: float) -> tuple[Trial, list[LogEntry]]:
        """The trial that meets a budget, or comes closest below it, and the log of all.

        Raises:
            BudgetError: none is fast enough.
        """
        best = self._best(budget)
        return best, [_entry("done" if trial is best else "declined", trial) for trial in self.tried]

    def _best(self, budget: float) -> Trial:
        low, high, target = self._least, 1.0, max(budget, self._least)
        while len(self.tried) < _ROUNDS and high - low > _OVER * budget / 2:
            trial = self._try(target)
            if 1 - _NEAR <= trial.measured / budget <= 1 + _OVER:
                return trial
            if target == self._least and trial.measured > budget:
                break
            low, high = (low, target) if trial.measured > budget else (target, high)
            proposed = max(self._least, trial.predicted * budget / trial.measured)
            new = all(proposed != tried.target for tried in self.tried)
            target = proposed if new and low <= proposed < high else (low + high) / 2
        return self._closest(budget)

    def _closest(self, budget: float) -> Trial:
        close = [trial for trial in self.tried if trial.measured <= (1 + _WITHIN) * budget]
        if not close:
            least = min((trial.measured for trial in self.tried), default=1.0)  # none, where nothing saves time
            why = "cut as far as it may be, the graph takes a share of its time of"
            raise BudgetError("latency", budget, least, why, self._table)
        return max(close, key=lambda trial: (trial.measured <= (1 + _OVER) * budget, trial.measured))

    def _try(self, target: float) -> Trial:
        made = self._sketch(target * (1 + 1e-9))  # rounding must not make the least too little
        if made.cuts not in self._measured:
            self._measured[made.cuts] = self._measure(made.graph)
        self.tried.append(Trial(target, made.predicted, self._measured[made.cuts]))
        return self.tried[-1]

    def _measure(self, graph: ir.Model) -> float:
        """Other work may leave an interval wider than what budgets are kept within: then it takes more processes to decide."""
        ratio = time_ratio(self._reference, graph, self._samples, enough(self._plan))
        if ratio.half_width() > _WITHIN:
            ratio = time_ratio(self._reference, graph, self._samples, more(self._plan))
        return ratio.value


def _entry(action: str, trial: Trial, why: str = "") -> LogEntry:
    detail = f"asked for {trial.target:.3f}, predicted {trial.predicted:.3f}, measured {trial.measured:.3f} of the time"
    return LogEntry(_NAME, "search", "done" if action == "done" else "declined", f"{detail}; {why}" if why else detail)


def _digest(press: Press, prune: Prune, latencies: Latencies) -> str:
    """Changes with anything that the search depends on."""
    curves = {name: list(curve.milliseconds.items()) for name, curve in sorted(latencies.curves.items())}
    facts = [
        press.describe(),
        press.keep_float,
        prune.latency,
        prune.protect,
        prune.multiple,
        prune.score,
        curves,
        press.fingerprint(),
        graph_digest(press.model),
    ]
    return f"search {hashlib.sha256(json.dumps(facts).encode()).hexdigest()}"
