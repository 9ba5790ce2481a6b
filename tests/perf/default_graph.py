"""ResNet-20 as onnxruntime's own defaults quantize it (S8S8, by tensor), judged by min_speedup = 1.0: is it let through?

Weights and data lie beside the project. Prints the speed ratio with its interval and the check; 1 where the gate lets it pass.
Usage: python tests/perf/default_graph.py
"""

import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

SHARED = Path(os.environ.get("FOLDPRESS_SHARED", Path(__file__).parents[3] / "shared" / "data"))
os.environ |= {"ORT_DISABLE_TELEMETRY": "1", "FOLDPRESS_SHARED": str(SHARED)}
ROOT = Path(__file__).parents[2]

import numpy as np  # noqa: E402
from onnxruntime.quantization import CalibrationDataReader, quantize_static  # noqa: E402

import foldpress  # noqa: E402
from foldpress.benchmark.checks import Figures  # noqa: E402
from foldpress.benchmark.gate import judge  # noqa: E402
from foldpress.data import fit_inputs  # noqa: E402
from foldpress.graph import input_specs, load_graph  # noqa: E402
from foldpress.sources import read_data  # noqa: E402

SAMPLES = 128


class Reader(CalibrationDataReader):  # type: ignore[misc]
    """The first training images, one at a time."""

    def __init__(self, graph: Path, folder: Path) -> None:
        data = fit_inputs(read_data("data:load_train", folder), input_specs(load_graph(graph)))
        self._feeds = iter([data.batch(np.array([row])) for row in range(SAMPLES)])

    def get_next(self) -> dict[str, Any] | None:
        return next(self._feeds, None)


def main() -> int:
    """Quantize, time, judge."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "resnet20"
        shutil.copytree(ROOT / "tests/data/resnet20", folder)
        float32, int8 = folder / "float32.onnx", folder / "default.onnx"
        weights = str(SHARED / "cifar10/resnet20-12fca82f.th")
        foldpress.export("model:build", float32, data="data:load", weights=weights, folder=folder)
        quantize_static(float32, int8, Reader(float32, folder))
        rows = foldpress.bench([float32, int8])
    (check,) = judge({"min_speedup": 1.0}, Figures(0.95, latency=[row for row in rows if row["graph"] == int8.name]))
    print(f"{check.verdict}: {check.why}")
    return int(check.verdict == "PASS")


if __name__ == "__main__":
    sys.exit(main())
