"""Quantizing a graph."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from foldpress.calibration import draw
from foldpress.errors import RequestError
from foldpress.optimizer.collection import Collection
from foldpress.optimizer.press import Press
from foldpress.optimizer.ranges import choose_method
from foldpress.optimizer.reuse import taken_or_collected
from foldpress.optimizer.targets import choose_target
from foldpress.precision import choose_precision
from foldpress.stages.press import press_file
from foldpress.stages.result import StageResult
from foldpress.weight_passes import choose_weights


def quantize(
    graph: Path | str,
    output: Path | str,
    *,
    data: str,
    target: str = "auto",
    precision: str = "auto",
    bits: int | None = None,
    calibration: str = "auto",
    keep_float: Sequence[str] = (),
    float_macs: float = 0.0,
    weight_passes: str | Sequence[str] = "auto",
    samples: int | None = None,
    seed: int | None = None,
    statistics: Path | str | None = None,
    keep_metadata: bool = False,
) -> StageResult:
    """Quantize, by default to the int8 that is fastest here, calibrated on samples of `data`; targets are not needed.

    Args:
        graph: a float .onnx file.
        output: the .onnx file to write.
        data: real samples, as `[data] source` names them. Where nothing is calibrated they only have to fit.
        target: the hardware, as `[quantize] target` names it.
        precision: "auto" (the fastest here, and none slower than float32), "static", "dynamic", "weight-int8",
            "weight-int4", "weights" or "float16".
        bits: 1 to 8, with "weights" alone.
        calibration: how "static" chooses ranges.
        keep_float: names of nodes, types of operators, "first" and "last", that "static" leaves float.
        float_macs: share of the MACs that may stay float too, where rounding costs the outputs most.
        weight_passes: passes over weights before "static", by name; "auto" or "none".
        samples: how many to calibrate on; 512, or those of `statistics`.
        seed: of their draw; 0.
        statistics: an .npz file of what "static" learns, by an earlier call, `collect_statistics` or a run. Where there is
            no such file yet, it is written.
        keep_metadata: leave shapes, notes and long names in the file, which is lean otherwise.

    Raises:
        RequestError: graph, data or options are wrong, the graph holds integers already, or the statistics were collected
            from another graph, other samples or with other options.
    """
    file = None if statistics is None else Path(statistics)
    press = partial(
        Press,
        prune=None,
        target=choose_target(target),
        ranges=choose_method(calibration),
        precision=choose_precision(
            precision, bits, calibration, keep_float, float_macs, statistics=statistics is not None
        ),
        keep_float=keep_float,
        float_macs=_share(float_macs),
        weights=choose_weights(weight_passes, precision),
        statistics=Collection.collect if file is None else partial(taken_or_collected, file),
    )
    return press_file(
        press, graph, output, data, partial(draw, samples=samples, seed=seed, statistics=file), keep_metadata
    )


def _share(float_macs: float) -> float:
    if not 0 <= float_macs < 1:
        raise RequestError(f"float_macs = {float_macs} is no share of the MACs", available="0 to less than 1")
    return float_macs
