"""Pruning a graph to a budget."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

from foldpress.calibration import draw
from foldpress.optimizer.press import Press
from foldpress.optimizer.prune import Prune
from foldpress.recipe import make_table
from foldpress.stages.press import press_file
from foldpress.stages.result import StageResult
from foldpress.tables.prune import PruneTable


def prune(
    graph: Path | str,
    output: Path | str,
    *,
    data: str,
    method: Literal["structured", "unstructured", "2:4"] = "structured",
    macs: float | None = None,
    parameters: float | None = None,
    bytes: float | None = None,  # noqa: A002  # the recipe's own word
    latency: float | None = None,
    max_drop: float | None = None,
    protect: Sequence[str] = (),
    score: Literal["obs", "activation", "magnitude", "l1"] = "obs",
    sparsity: float | None = None,
    threshold: float | None = None,
    layers: Mapping[str, float] | None = None,
    task: str = "classification",
    samples: int = 512,
    seed: int = 0,
    keep_metadata: bool = False,
) -> StageResult:
    """Prune a graph to a budget, repaired on samples of `data`; targets are not needed.

    `score` is what decides which channels of a layer go first: the error that is left after repair (obs), the energy of what
    the layers behind it get from a channel (activation), or the L2 or L1 norm of the weights that make it (magnitude, l1).

    `layers` has shares of zeros, or thresholds, of single layers: by name, by type of operator, of the "first" or the "last".

    `latency` is a share of the time of the float32 graph, at batch 1 on one thread of this machine. `max_drop` is what samples
    lose that pruning has not seen; for classification without targets, the share of predictions that change.

    The file is lean, unless `keep_metadata`: no shapes, notes and long names inside the graph.

    Raises:
        RequestError: graph or data are wrong, or the budget cannot be met.
    """
    table = make_table(
        PruneTable, method=method, macs=macs, parameters=parameters, bytes=bytes, latency=latency, max_drop=max_drop,
        protect=tuple(protect) or None, score=None if score == "obs" else score, sparsity=sparsity, threshold=threshold,
        layers=layers,
    )  # fmt: skip
    asked = Prune(table.method, **table.model_dump(exclude={"method"}))
    press = partial(Press, prune=asked, target=None)
    return press_file(press, graph, output, data, partial(draw, samples=samples, seed=seed), keep_metadata, task)
