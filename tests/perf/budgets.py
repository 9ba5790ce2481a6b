"""Budgets met as a job meets them, from an empty cache of latencies; and rows of a table for the graphs that come of it."""

import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import onnx_ir as ir
from networks import Material, accuracy, macs  # type: ignore[import-not-found]  # beside this script

from foldpress.benchmark.plan import LatencyPlan
from foldpress.benchmark.scoring import make_task
from foldpress.data import Dataset
from foldpress.drop_budget import loss_of
from foldpress.graph import serialize
from foldpress.optimizer.lean import lean
from foldpress.optimizer.passes import apply
from foldpress.optimizer.press import Press
from foldpress.optimizer.pressed import Pressed
from foldpress.pruned_time import time_ratio
from foldpress.settling import settle, settled

PLAN = LatencyPlan(processes=8, seconds=8.0)  # for the figures that are told; the search times as it does in a job


@dataclass(frozen=True)
class Met:
    """The graphs, the trials of the search for them, and CPU seconds; those of timing belong to other processes."""

    pressed: Pressed
    search: str
    seconds: float


def share(budget: str) -> dict[str, float]:
    """`macs=0.8` as a keyword argument."""
    kind, value = budget.split("=")
    return {kind: float(value)}


def meet(press: Press, calibration: Dataset) -> Met:
    """What ships of a press once its budgets are settled on samples with labels.

    Raises:
        RequestError: a budget cannot be met.
    """
    start = time.process_time()
    loss = loss_of(make_task("classification", Path(), calibration.y))
    with tempfile.TemporaryDirectory(prefix="foldpress.") as empty, mock.patch.dict(os.environ, FOLDPRESS_CACHE=empty):
        found = settle(press, calibration, PLAN, loss)
    pressed = settled(press, found).ship()
    tried = [entry["detail"] for entry in found["log"] if entry["subject"] == "search" or entry["pass"] == "max-drop"]
    return Met(pressed, "; then ".join(tried), time.process_time() - start)


def head(*columns: str) -> None:
    """The first two lines of a table, behind one that says how busy the machine is."""
    print(f"load of the last minute: {os.getloadavg()[0]:.1f}\n")
    row(*columns)
    row(*["---"] * len(columns))


def row(*columns: str) -> None:
    """One line of a table, at once."""
    print(f"| {' | '.join(columns)} |", flush=True)


def left(graph: ir.Model, given: Material) -> tuple[str, str, str]:
    """Columns: share of the MACs, kilobytes of the file, and the share of held-out samples that are right."""
    size = len(serialize(apply(lean(keep_metadata=False), graph).model)) / 1e3
    return f"{macs(graph) / macs(given.model):.1%}", f"{size:,.0f}", f"{accuracy(graph, given.scored):.2%}"


def timed(reference: ir.Model, graph: ir.Model, samples: Dataset) -> str:
    """A column: the time of a graph over that of another, in turns, with its interval of 95 %."""
    ratio = time_ratio(reference, graph, samples, PLAN)
    return f"{ratio.value:.3f} ({ratio.low:.3f}–{ratio.high:.3f})"
