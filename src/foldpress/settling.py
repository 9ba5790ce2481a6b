"""What a recipe leaves open: which precision ships, and how far to prune for a budget of time or a largest drop."""

from dataclasses import asdict, replace
from typing import Any

from foldpress.benchmark.plan import LatencyPlan
from foldpress.choice import choose
from foldpress.data import Dataset
from foldpress.drop_budget import Loss, meet_drop
from foldpress.latency_cache import LatencyCache
from foldpress.optimizer.ledger import Curve, Latencies
from foldpress.optimizer.press import Press
from foldpress.precision import Precision
from foldpress.time_budget import meet_latency


def settle(press: Press, samples: Dataset, plan: LatencyPlan, loss: Loss) -> dict[str, Any]:
    """Decide all that is open, as nested dictionaries that `settled` takes.

    A largest drop becomes a share of the MACs first; the precision is chosen on the network pruned so. A budget of time
    counts in the precision that ships: that is chosen on the unpruned network, and then how far to prune.

    Args:
        press: what was asked for.
        samples: real inputs to time on.
        plan: where to time.
        loss: what is lost on some samples.

    Raises:
        RequestError: a budget cannot be met.
    """
    found: dict[str, Any] = {"prune": {}, "log": []}
    asked = press.prune
    if asked is not None and asked.max_drop is not None:
        drop = meet_drop(press, loss)
        found["prune"] = {"macs": drop.share, "max_drop": None}
        found["log"] += [entry.as_json() for entry in drop.log]
        press = settled(press, found)
    by_time = asked is not None and asked.latency is not None
    chosen = choose(press.pruning(None) if by_time else press, samples, plan)
    found["precision"] = chosen.precision and asdict(chosen.precision)
    found["log"] += [entry.as_json() for entry in chosen.log]
    if by_time:
        met = meet_latency(press.at(chosen.precision), samples, plan, LatencyCache(plan))
        assert met.prune.latencies is not None  # noqa: S101  # they were measured
        found["prune"] = {"latency": met.prune.latency, "latencies": _as_json(met.prune.latencies)}
        found["log"] += [entry.as_json() for entry in met.log]
    return found


def settled(press: Press, found: dict[str, Any], **changes: Any) -> Press:
    """The press that `settle` found, with more changes to what is pruned."""
    if "precision" in found:
        press = press.at(Precision(**found["precision"]) if found["precision"] else None)
    changes = found["prune"] | changes
    if "latencies" in changes:
        changes["latencies"] = _from_json(changes["latencies"])
    return press.pruning(replace(press.prune, **changes)) if changes and press.prune is not None else press


def _as_json(latencies: Latencies) -> dict[str, Any]:
    curves = {name: list(curve.milliseconds.items()) for name, curve in latencies.curves.items()}
    return {"whole": latencies.whole, "curves": curves}


def _from_json(given: dict[str, Any]) -> Latencies:
    return Latencies(given["whole"], {name: Curve(dict(map(tuple, pairs))) for name, pairs in given["curves"].items()})
