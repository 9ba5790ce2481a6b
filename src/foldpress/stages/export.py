"""PyTorch to ONNX, verified on real samples."""

import time
from pathlib import Path

from foldpress.origin import open_origin, parity_log
from foldpress.sources import read_data
from foldpress.stages.result import StageResult, output_file, stage_result


def export(
    source: str, output: Path | str, *, data: str, weights: str | None = None, folder: Path | str = "."
) -> StageResult:
    """Export `module:callable` to a verified ONNX file.

    Args:
        source: `module:callable` giving a torch.nn.Module, or an .onnx file, which is copied after a check.
        output: the .onnx file to write.
        data: real samples, as `[data] source` names them.
        weights: .safetensors, .pt or .pth.
        folder: where modules and relative paths are found.

    Raises:
        RequestError: source, weights or data are wrong.
        ParityError: the graph does not compute what PyTorch computes.
    """
    start, folder = time.perf_counter(), Path(folder)
    output = output_file(output)
    origin = open_origin(source, weights, folder, read_data(data, folder))
    parity = origin.export(output, origin.dataset)
    return stage_result(output, start, parity_log(parity))
