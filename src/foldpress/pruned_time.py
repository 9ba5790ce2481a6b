"""What pruning and factorization did: which shares are left, and the time in turns with the graph before, both in the precision
that ships.
"""

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import onnx_ir as ir

from foldpress.benchmark.changes import told_time
from foldpress.benchmark.latency import block_medians
from foldpress.benchmark.plan import LatencyPlan
from foldpress.benchmark.ratios import Ratio, ratio_of
from foldpress.choice import elsewhere
from foldpress.cost import graph_cost
from foldpress.data import Dataset
from foldpress.graph import save_graph
from foldpress.optimizer.factorize.request import Factorization
from foldpress.optimizer.ledger import Counted
from foldpress.optimizer.passes import LogEntry
from foldpress.optimizer.press import Press
from foldpress.optimizer.pressed import Pressed
from foldpress.optimizer.prune import Prune

_PROCESSES, _SECONDS = 3, 3.0  # enough for an interval of one or two percent
_BUSY_PROCESSES, _BUSY_SECONDS = 8, 8.0  # for two percent at a load of 6, where three processes leave up to eight

_ZEROS = "unstructured", "2:4"  # methods by which no layer changes its shape
_ENTRIES = {"pruning": "pruned-time", "factorization": "factorized-time"}
_BUDGETS = "macs", "parameters", "bytes", "latency", "max_drop", "sparsity", "threshold"


def enough(plan: LatencyPlan) -> LatencyPlan:
    """The same place, with time for an interval that decisions can be made by."""
    return replace(plan, processes=_PROCESSES, seconds=_SECONDS, half_width=None)


def more(plan: LatencyPlan) -> LatencyPlan:
    """The same place, with time for such an interval on a busy machine."""
    return replace(enough(plan), processes=_BUSY_PROCESSES, seconds=_BUSY_SECONDS)


def time_ratio(reference: ir.Model, graph: ir.Model, samples: Dataset, plan: LatencyPlan) -> Ratio:
    """How much of a reference's time a graph takes, in interleaved blocks of several fresh processes."""
    with tempfile.TemporaryDirectory(prefix="foldpress.") as folder:
        paths = {name: Path(folder) / f"{name}.onnx" for name in ("reference", "graph")}
        save_graph(reference, paths["reference"])
        save_graph(graph, paths["graph"])
        blocks = block_medians(paths, samples, plan)
    mine, theirs = ([rounds[:, None].tolist() for rounds in blocks[name]] for name in ("graph", "reference"))
    return ratio_of(mine, theirs)


def change_blocks(
    prune: Prune | None,
    factorize: Factorization | None,
    press: Press,
    pressed: Pressed,
    samples: Dataset,
    plan: LatencyPlan,
) -> dict[str, dict[str, Any] | None]:
    """`pruning` and `factorization` of report.json, each None where it was not asked for.

    They say what was asked for, which shares are left, and what it did to the time. Shares are those of the layers, as budgets
    count them, before quantization; the time is that of the graph that ships beside the one that nothing was cut from in the
    same precision. Where both were asked for it is that of the two together.
    """
    before = pressed.pruned or press.model
    made = {"pruning": (prune, press.model, pressed.pruned), "factorization": (factorize, before, pressed.factorized)}
    done = [name for name, (asked, _, after) in made.items() if asked is not None and after is not None]
    time = _time(press, pressed, " and ".join(done), samples, plan) if done else {}
    blocks: dict[str, dict[str, Any] | None] = dict.fromkeys(made)
    for name, (asked, old, new) in made.items():
        if asked is not None and new is not None:
            blocks[name] = _asked(asked) | _left(old, new) | time
    return blocks


def _asked(asked: Prune | Factorization) -> dict[str, Any]:
    budget = next((name for name in _BUDGETS if getattr(asked, name, None) is not None), None)
    found: dict[str, Any] = {"method": asked.method, "budget": budget, "asked": budget and getattr(asked, budget)}
    if budget is None:
        found |= dict.fromkeys(("budget_why", "asked_why"), f"{asked.method} takes no budget")
    return found


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


def _time(press: Press, pressed: Pressed, of: str, samples: Dataset, plan: LatencyPlan) -> dict[str, Any]:
    if pressed.last is None or not press.changes_shapes:
        return {"time": None, "time_why": "single weights went, and zeros make no kernel faster"}
    if why := elsewhere(press.target, plan.provider):
        return {"time": None, "time_why": why}
    brief = replace(plan, processes=min(plan.processes, _PROCESSES), seconds=min(plan.seconds, _SECONDS))
    ratio = time_ratio(press.unpruned(), pressed.last, samples, brief)
    decided, alone = ratio.excludes_one(), "one process was run, and an interval needs two"
    return {
        "time": {
            "of": of, "provider": plan.provider, "batch": plan.batch, "threads": plan.threads, "precision": press.describe(),
            "ratio": ratio.value, "low": ratio.low, "high": ratio.high,
            "costs_time": decided and ratio.value > 1, "saves_time": decided and ratio.value < 1,
            **(dict.fromkeys(("low_why", "high_why"), alone) if ratio.low is None else {}),
        }
    }  # fmt: skip


def time_log(blocks: Mapping[str, dict[str, Any] | None]) -> list[LogEntry]:
    """The same for the log, once, where layers changed."""
    found = [(name, block) for name, block in blocks.items() if block is not None and block["method"] not in _ZEROS]
    if not found:
        return []
    name, block = found[-1]
    name = _ENTRIES[name]
    if block["time"] is None:
        return [LogEntry(name, "graph", "declined", f"not timed: {block['time_why']}")]
    return [LogEntry(name, "graph", "declined" if block["time"]["costs_time"] else "done", told_time(block["time"]))]
