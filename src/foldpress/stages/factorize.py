"""Factorizing a graph to a budget."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from foldpress.calibration import draw
from foldpress.optimizer.factorize.forms import Method
from foldpress.optimizer.factorize.request import Factorization
from foldpress.optimizer.press import Press
from foldpress.recipe import make_table
from foldpress.stages.press import press_file
from foldpress.stages.result import StageResult
from foldpress.tables.factorize import FactorizeTable


def factorize(
    graph: Path | str,
    output: Path | str,
    *,
    data: str,
    method: Method = "auto",
    macs: float | None = None,
    parameters: float | None = None,
    bytes: float | None = None,  # noqa: A002  # the recipe's own word
    latency: float | None = None,
    max_drop: float | None = None,
    protect: Sequence[str] = (),
    task: str = "classification",
    samples: int = 512,
    seed: int = 0,
    keep_metadata: bool = False,
) -> StageResult:
    """Factorize the weights of a graph to a budget, fitted on samples of `data`; targets are not needed.

    Args:
        graph: a float .onnx file.
        output: the .onnx file to write.
        data: real samples, as `[data] source` names them.
        method: "auto" for the best of all forms in each layer, or "low-rank", "separable", "tucker", "depthwise", "kronecker".
        macs: share of the multiply-accumulates to leave; exactly one budget is given.
        parameters: share of the parameters to leave.
        bytes: share of the weights' bytes to leave.
        latency: share of the float32 graph's time to leave, at batch 1 on one thread of this machine.
        max_drop: what samples lose that the fit has not seen; without targets, the share of predictions that change.
        protect: layers by name that stay as they are.
        task: what a drop is of.
        samples: how many to fit on.
        seed: of their draw.
        keep_metadata: leave shapes, notes and long names in the file, which is lean otherwise.

    Raises:
        RequestError: graph or data are wrong, no layer can be factorized, or the budget cannot be met.
    """
    table = make_table(
        FactorizeTable, method=method, macs=macs, parameters=parameters, bytes=bytes, latency=latency, max_drop=max_drop,
        protect=tuple(protect) or None,
    )  # fmt: skip
    press = partial(Press, prune=None, factorize=Factorization(**table.model_dump()), target=None)
    return press_file(press, graph, output, data, partial(draw, samples=samples, seed=seed), keep_metadata, task)
