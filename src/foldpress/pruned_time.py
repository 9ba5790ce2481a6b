"""What pruning and factorization did to the time: the graph in turns with the one before, both in the precision that ships."""

import tempfile
from dataclasses import replace
from pathlib import Path

import onnx_ir as ir

from foldpress.benchmark.latency import block_medians
from foldpress.benchmark.plan import LatencyPlan
from foldpress.benchmark.ratios import Ratio, ratio_of
from foldpress.choice import elsewhere
from foldpress.data import Dataset
from foldpress.graph import save_graph
from foldpress.optimizer.passes import LogEntry
from foldpress.optimizer.press import Press

_PROCESSES, _SECONDS = 3, 3.0  # enough for an interval of one or two percent


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


def time_entry(press: Press, graph: ir.Model, samples: Dataset, plan: LatencyPlan) -> LogEntry:
    """What pruning and factorization did to the time: the graph that ships beside the one before in the same precision."""
    name, what, before = _words(press)
    if why := elsewhere(press.target, plan.provider):
        return LogEntry(name, "graph", "declined", f"not timed: {why}")
    brief = replace(plan, processes=min(plan.processes, _PROCESSES), seconds=min(plan.seconds, _SECONDS))
    ratio = time_ratio(press.unpruned(), graph, samples, brief)
    where = f"in {press.describe()}, batch {plan.batch}, threads {plan.threads}"
    interval = f" ({ratio.low:.3f}–{ratio.high:.3f})" if ratio.low is not None else ""
    told = f"{ratio.value:.3f}{interval} of the {before} graph's time {where}"
    if ratio.excludes_one() and ratio.value > 1:
        return LogEntry(name, "graph", "declined", f"{what} costs time: {told}; a budget in latency would not")
    return LogEntry(name, "graph", "done", told if ratio.excludes_one() else f"{what} saves no time: {told}")


def _words(press: Press) -> tuple[str, str, str]:
    """What the entry is called, what is timed, and what the graph before is."""
    if press.factorize is None:
        return "pruned-time", "pruning", "unpruned"
    if press.prune is None:
        return "factorized-time", "factorization", "unfactorized"
    return "factorized-time", "pruning and factorizing", "original"
