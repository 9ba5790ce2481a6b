"""What pruning did to the time: the pruned graph in turns with the unpruned one, both in the precision that ships."""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import onnx_ir as ir

from foldpress.benchmark.latency import block_medians
from foldpress.benchmark.plan import LatencyPlan
from foldpress.benchmark.pruning import told_time
from foldpress.benchmark.ratios import Ratio, ratio_of
from foldpress.choice import elsewhere
from foldpress.cost import graph_cost
from foldpress.data import Dataset
from foldpress.graph import save_graph
from foldpress.optimizer.ledger import Counted
from foldpress.optimizer.passes import LogEntry
from foldpress.optimizer.press import Press, Pressed
from foldpress.optimizer.prune import Prune

_PROCESSES, _SECONDS = 3, 3.0  # enough for an interval of one or two percent

_BUDGETS = "macs", "parameters", "bytes", "latency", "max_drop", "sparsity", "threshold"


def enough(plan: LatencyPlan) -> LatencyPlan:
    """The same place, with time for an interval that decisions can be made by."""
    return replace(plan, processes=_PROCESSES, seconds=_SECONDS, half_width=None)


def time_ratio(reference: ir.Model, graph: ir.Model, samples: Dataset, plan: LatencyPlan) -> Ratio:
    """How much of a reference's time a graph takes, in interleaved blocks of several fresh processes."""
    with tempfile.TemporaryDirectory(prefix="foldpress.") as folder:
        paths = {name: Path(folder) / f"{name}.onnx" for name in ("reference", "graph")}
        save_graph(reference, paths["reference"])
        save_graph(graph, paths["graph"])
        blocks = block_medians(paths, samples, plan)
    mine, theirs = ([rounds[:, None].tolist() for rounds in blocks[name]] for name in ("graph", "reference"))
    return ratio_of(mine, theirs)


def pruning_block(
    asked: Prune | None, press: Press, pressed: Pressed, samples: Dataset, plan: LatencyPlan
) -> dict[str, Any] | None:
    """The `pruning` of report.json: what was asked for, which shares are left, and what it did to the time.

    None where nothing was to be pruned. Shares are those of the layers, as budgets count them, before quantization; the time is
    that of the graph that ships beside the unpruned one in the same precision.
    """
    if asked is None or pressed.pruned is None:
        return None
    budget = next((name for name in _BUDGETS if getattr(asked, name) is not None), None)
    found: dict[str, Any] = {"method": asked.method, "budget": budget, "asked": budget and getattr(asked, budget)}
    if budget is None:
        found |= dict.fromkeys(("budget_why", "asked_why"), f"{asked.method} takes no budget")
    found |= _left(press.model, pressed.pruned)
    return found | _time(press, pressed.quantized or pressed.pruned, samples, plan)


def _left(before: ir.Model, after: ir.Model) -> dict[str, Any]:
    """Shares of all layers, null with a reason where they are not known."""
    old, new = graph_cost(before), graph_cost(after)
    found: dict[str, Any] = {}
    for name in get_args(Counted):
        sums = [[getattr(layer, name) for layer in cost.layers] for cost in (old, new)]
        known = None not in sums[0] + sums[1] and sum(sums[0]) > 0
        found[f"{name}_left"] = sum(sums[1]) / sum(sums[0]) if known else None
        found |= {} if known else {f"{name}_left_why": old.macs_why or new.macs_why or "no layer has any"}
    return found


def _time(press: Press, graph: ir.Model, samples: Dataset, plan: LatencyPlan) -> dict[str, Any]:
    if not press.removes_channels:
        return {"time": None, "time_why": "single weights went, and zeros make no kernel faster"}
    if why := elsewhere(press.target, plan.provider):
        return {"time": None, "time_why": why}
    brief = replace(plan, processes=min(plan.processes, _PROCESSES), seconds=min(plan.seconds, _SECONDS))
    ratio = time_ratio(press.unpruned(), graph, samples, brief)
    decided, alone = ratio.excludes_one(), "one process was run, and an interval needs two"
    return {
        "time": {
            "provider": plan.provider, "batch": plan.batch, "threads": plan.threads, "precision": press.describe(),
            "ratio": ratio.value, "low": ratio.low, "high": ratio.high,
            "costs_time": decided and ratio.value > 1, "saves_time": decided and ratio.value < 1,
            **(dict.fromkeys(("low_why", "high_why"), alone) if ratio.low is None else {}),
        }
    }  # fmt: skip


def time_log(block: dict[str, Any] | None) -> list[LogEntry]:
    """The same for the log, where channels went."""
    if block is None or block["method"] != "structured":
        return []
    if block["time"] is None:
        return [LogEntry("pruned-time", "graph", "declined", f"not timed: {block['time_why']}")]
    told = told_time(block["time"])
    return [LogEntry("pruned-time", "graph", "declined" if block["time"]["costs_time"] else "done", told)]
