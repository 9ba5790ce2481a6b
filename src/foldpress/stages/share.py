"""Letting the weights of a graph share values."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

from foldpress.calibration import draw
from foldpress.optimizer.press import Press
from foldpress.recipe import make_table
from foldpress.stages.press import press_file
from foldpress.stages.result import StageResult
from foldpress.tables.share import ShareTable


def share(
    graph: Path | str,
    output: Path | str,
    *,
    data: str,
    bits: int | None = None,
    per: Literal["tensor", "channel"] = "tensor",
    method: Literal["kmeans", "binary", "ternary"] = "kmeans",
    keep_float: Sequence[str] = (),
    layers: Mapping[str, int] | None = None,
    samples: int = 512,
    seed: int = 0,
    keep_metadata: bool = False,
) -> StageResult:
    """Let the weights of each layer share a few values, fitted to its outputs on samples of `data`; targets are not needed.

    The file holds codebooks, and for each weight a place in one; `foldpress.pack` then comes near the entropy of the places.
    Nothing gets faster.

    Args:
        graph: a float .onnx file.
        output: the .onnx file to write.
        data: real samples, as `[data] source` names them.
        bits: 1 to 8, 4 where it is not given: 2^bits values, of which zero is one where weights are pruned.
        per: what has values of its own.
        method: "kmeans", or "binary" and "ternary", which say their bits by name.
        keep_float: layers that stay as they are: names, types of operators, "first" and "last".
        layers: other `bits` of some layers, named like those.
        samples: how many to learn from.
        seed: of their draw.
        keep_metadata: leave shapes, notes and long names in the file, which is lean otherwise.

    Raises:
        RequestError: graph, data or options are wrong, or no layer can share weights.
    """
    table = make_table(ShareTable, bits=bits, per=per, method=method, keep_float=tuple(keep_float), layers=layers)
    press = partial(Press, prune=None, share=table.asked(), target=None)
    return press_file(press, graph, output, data, partial(draw, samples=samples, seed=seed), keep_metadata)
