"""What a recipe leaves open: which precision ships, and how far to prune and factorize for a budget of time or a largest drop."""

from dataclasses import asdict, replace
from typing import Any, get_args

from foldpress.benchmark.plan import LatencyPlan
from foldpress.choice import choose
from foldpress.data import Dataset
from foldpress.drop_budget import Loss, Stage, meet_drop
from foldpress.factor_budget import meet_factor_latency
from foldpress.latency_cache import LatencyCache
from foldpress.optimizer.factorize.costs import LayerTimes
from foldpress.optimizer.ledger import Curve, Latencies
from foldpress.optimizer.passes import LogEntry
from foldpress.optimizer.press import Press
from foldpress.precision import Precision
from foldpress.time_budget import meet_latency


def settle(press: Press, samples: Dataset, plan: LatencyPlan, loss: Loss) -> dict[str, Any]:
    """Decide all that is open, as nested dictionaries that `settled` takes.

    A largest drop of pruning becomes a share of the MACs first; the precision is chosen on the network pruned so. A budget of
    time counts in the precision that ships: that is chosen before, and then how far to prune. What is left to decide of
    factorization is decided on the network that pruning leaves.

    Args:
        press: what was asked for.
        samples: real inputs to time on.
        plan: where to time.
        loss: what is lost on some samples.

    Raises:
        RequestError: a budget cannot be met.
    """
    found: dict[str, Any] = {"prune": {}, "factorize": {}, "log": []}
    if press.prune is not None and press.prune.max_drop is not None:
        _take(found, "prune", *_by_drop(press, loss, "prune"))
    chosen = choose(_decided(settled(press, found)), samples, plan)
    found["precision"] = chosen.precision and asdict(chosen.precision)
    found["log"] += [entry.as_json() for entry in chosen.log]
    if press.prune is not None and press.prune.latency is not None:
        met = meet_latency(settled(press, found).factorizing(None), samples, plan, LatencyCache(plan))
        assert met.prune.latencies is not None  # noqa: S101  # they were measured
        _take(found, "prune", {"latency": met.prune.latency, "latencies": _as_json(met.prune.latencies)}, met.log)
    if press.factorize is not None and press.factorize.max_drop is not None:
        _take(found, "factorize", *_by_drop(settled(press, found), loss, "factorize"))
    if press.factorize is not None and press.factorize.latency is not None:
        fast = meet_factor_latency(settled(press, found), samples, plan, LatencyCache(plan))
        assert fast.factorize.times is not None  # noqa: S101  # they were measured
        _take(found, "factorize", {"latency": fast.factorize.latency, "times": asdict(fast.factorize.times)}, fast.log)
    return found


def settle_round(press: Press, found: dict[str, Any], loss: Loss, fold: int, repeat: int) -> dict[str, Any]:
    """What a round of the k-fold check decides for itself: how far to go for a largest drop, without its fold."""
    own: dict[str, Any] = found | {"log": []}
    for stage in get_args(Stage):
        asked = getattr(press, stage)
        if asked is not None and asked.max_drop is not None:
            _take(own, stage, *_by_drop(settled(press, own | {stage: {}}), loss, stage, fold, repeat))
    return own


def settled(press: Press, found: dict[str, Any]) -> Press:
    """The press that `settle` found."""
    if "precision" in found:
        press = press.at(Precision(**found["precision"]) if found["precision"] else None)
    prune, factorize = dict(found["prune"]), dict(found["factorize"])
    if "latencies" in prune:
        prune["latencies"] = _from_json(prune["latencies"])
    if "times" in factorize:
        factorize["times"] = LayerTimes(**factorize["times"])
    if prune and press.prune is not None:
        press = press.pruning(replace(press.prune, **prune))
    if factorize and press.factorize is not None:
        press = press.factorizing(replace(press.factorize, **factorize))
    return press


def _decided(press: Press) -> Press:
    """What of a press can be made already, to choose a precision by."""
    if press.prune is not None and press.prune.latency is not None and press.prune.latencies is None:
        press = press.pruning(None).factorizing(None)
    asked = press.factorize
    open_yet = asked is not None and (asked.max_drop is not None or (asked.latency is not None and asked.times is None))
    return press.factorizing(None) if open_yet else press


def _by_drop(
    press: Press, loss: Loss, stage: Stage, fold: int | None = None, repeat: int = 0
) -> tuple[dict[str, Any], tuple[LogEntry, ...]]:
    drop = meet_drop(press, loss, fold, repeat, stage=stage)
    return {"macs": drop.share, "max_drop": None}, drop.log


def _take(found: dict[str, Any], stage: Stage, changes: dict[str, Any], log: tuple[LogEntry, ...]) -> None:
    found[stage] = changes
    found["log"] += [entry.as_json() for entry in log]


def _as_json(latencies: Latencies) -> dict[str, Any]:
    curves = {name: list(curve.milliseconds.items()) for name, curve in latencies.curves.items()}
    return {"whole": latencies.whole, "curves": curves}


def _from_json(given: dict[str, Any]) -> Latencies:
    return Latencies(given["whole"], {name: Curve(dict(map(tuple, pairs))) for name, pairs in given["curves"].items()})
