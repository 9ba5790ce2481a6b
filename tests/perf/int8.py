"""foldpress's int8 against onnxruntime's own quantizer on every network at hand: accuracy, flips, file, time.

All calibrated on the same samples and scored on the same others; one graph each (of the first split) is timed against
float32 in interleaved blocks of fresh processes, at batch 1. Accuracy and flips are means over the splits.
onnxruntime: U8S8 per-channel with each of its calibrators, and its defaults (S8S8 per-tensor, min/max).
Usage: python tests/perf/int8.py [network …]
"""

import contextlib
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SHARED = Path(os.environ.get("FOLDPRESS_SHARED", Path(__file__).parents[3] / "shared" / "data"))
os.environ["FOLDPRESS_SHARED"] = str(SHARED)
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
ROOT = Path(__file__).parents[2]

import numpy as np  # noqa: E402
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantType, quantize_static  # noqa: E402

import foldpress  # noqa: E402
from foldpress.data import Dataset, fit_inputs  # noqa: E402
from foldpress.graph import batch_size, input_specs, load_graph  # noqa: E402
from foldpress.runtime import open_session, predict  # noqa: E402
from foldpress.sources import read_data  # noqa: E402

Split = tuple[Dataset, Dataset]


@dataclass(frozen=True)
class Network:
    """Where a network lies, and how many samples calibrate it in each of how many draws."""

    folder: Path
    weights: Path
    samples: int = 500
    draws: int = 1

    def splits(self) -> list[Split]:
        """Calibration samples from the training data, with everything that is held out; or halves of the one data set."""
        data = read_data("data:load", self.folder)
        if self.weights.parent.name == "kws":  # there is no training data
            orders = [np.random.default_rng(seed).permutation(len(data)) for seed in range(self.draws)]
            halves = [[data.select(order[start::2]) for start in (0, 1)] for order in orders]
            return [pair for first, second in halves for pair in ((first, second), (second, first))]
        train = read_data("data:load_train", self.folder)
        order = np.random.default_rng(0).permutation(len(train))
        return [(train.select(order[i * self.samples :][: self.samples]), data) for i in range(self.draws)]


NETWORKS = {
    "resnet20": Network(ROOT / "tests/data/resnet20", SHARED / "cifar10/resnet20-12fca82f.th", draws=4),
    "ds_cnn": Network(ROOT / "tests/data/ds_cnn", SHARED / "kws/ds_cnn.safetensors", draws=4),
    "lstm": Network(ROOT / "tests/data/lstm", SHARED / "spoken_digits/best_modelFP.pth"),
    "vit": Network(
        ROOT / "tests/data/vit", SHARED / "cifar10/vit.pth", samples=100
    ),  # onnxruntime keeps every activation
    **{
        name: Network(ROOT / "models" / name, ROOT / "models" / name / "weights.safetensors")
        for name in ("digits", "tabular", "regression", "sequence")
    },
}
CALIBRATORS = {
    "min/max": CalibrationMethod.MinMax,
    "percentile": CalibrationMethod.Percentile,
    "entropy": CalibrationMethod.Entropy,
}


class Reader(CalibrationDataReader):  # type: ignore[misc]
    """One calibration sample at a time: onnxruntime's calibrators break on a shorter last batch."""

    def __init__(self, data: Dataset) -> None:
        self._feeds = data.batches(1)

    def get_next(self) -> dict[str, Any] | None:
        return next(self._feeds, None)


def by_foldpress(**options: Any) -> Callable[[Path, Path, Dataset], None]:
    """Quantize by `foldpress.quantize`."""

    def quantize(graph: Path, output: Path, calibration: Dataset) -> None:
        samples = output.with_suffix(".npz")
        np.savez(samples, **calibration.batch(slice(None)))  # type: ignore[arg-type]
        foldpress.quantize(graph, output, data=str(samples), samples=len(calibration), **options)

    return quantize


def by_onnxruntime(**options: Any) -> Callable[[Path, Path, Dataset], None]:
    """Quantize by onnxruntime's `quantize_static`."""
    return lambda graph, output, calibration: quantize_static(graph, output, Reader(calibration), **options)


def tools() -> dict[str, Callable[[Path, Path, Dataset], None]]:
    """Every way to quantize."""
    fast = {"per_channel": True, "activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8}
    return {
        "foldpress": by_foldpress(),
        "foldpress static": by_foldpress(precision="static"),
        **{f"ORT U8S8 {name}": by_onnxruntime(calibrate_method=method, **fast) for name, method in CALIBRATORS.items()},
        "ORT defaults": by_onnxruntime(),
    }


def compare(name: str, network: Network) -> None:
    """Print one row for each tool."""
    with tempfile.TemporaryDirectory() as where:
        folder = Path(where)
        if not network.weights.is_file():
            subprocess.run([sys.executable, str(network.folder / "train.py")], check=True, capture_output=True)
        exported = folder / "float32.onnx"
        weights = str(network.weights)
        foldpress.export("model:build", exported, data="data:load", weights=weights, folder=network.folder)
        specs = input_specs(load_graph(exported))
        splits = [(fit_inputs(a, specs), fit_inputs(b, specs)) for a, b in network.splits()]
        graphs, scores = {"float32": exported}, {"float32": [score(exported, exported, held) for _, held in splits]}
        for label, quantize in tools().items():
            graphs[label] = folder / f"{label.replace(' ', '_').replace('/', '')}.onnx"
            scores[label] = []
            for number, (calibration, held) in reversed(list(enumerate(splits))):  # the first split's graph stays
                with contextlib.redirect_stdout(sys.stderr):  # the calibrators print
                    quantize(exported, graphs[label], calibration)
                scores[label].append(score(exported, graphs[label], held))
                print(f"{name}: {label}, split {number}", file=sys.stderr, flush=True)
        np.savez(folder / "samples.npz", **splits[0][1].select(np.arange(64)).batch(slice(None)))  # type: ignore[arg-type]
        rows = foldpress.bench(list(graphs.values()), data=str(folder / "samples.npz"), seconds=20)
        print(f"{name:<24}{'score':>9}{'flips':>9}{'kB':>9}  time over float32, 95 %")
        for (label, path), row in zip(graphs.items(), rows, strict=True):
            right, flips = np.mean(scores[label], axis=0)
            ratio = f"{1 / row['speedup']:.3f}"
            if row["speedup_low"] is not None:
                ratio += f" ({1 / row['speedup_high']:.3f}–{1 / row['speedup_low']:.3f})"
            print(f"  {label:<22}{right:>9.2%}{flips:>9.2%}{path.stat().st_size / 1000:>9.1f}  {ratio}", flush=True)


def score(reference: Path, path: Path, held: Dataset) -> tuple[float, float]:
    """Accuracy and share of changed predictions; of a regression R² and the change's share of the targets' variance."""
    expected, found = (predict(open_session(one), held, min(batch_size(load_graph(one)), 50))[0] for one in (reference, path))  # fmt: skip
    if held.y is not None and held.y.dtype.kind == "f":
        error, change = (float(((found.ravel() - other.ravel()) ** 2).mean()) for other in (held.y, expected))
        return 1 - error / float(held.y.var()), change / float(held.y.var())
    return float((found.argmax(1) == held.y).mean()), float((found.argmax(1) != expected.argmax(1)).mean())


if __name__ == "__main__":
    logging.disable(logging.WARNING)  # the quantizer advises to pre-process
    for asked in sys.argv[1:] or NETWORKS:
        if not SHARED.is_dir() and NETWORKS[asked].weights.is_relative_to(SHARED):
            print(f"{asked} skipped: no trained weights and data in {SHARED}")
        else:
            compare(asked, NETWORKS[asked])
