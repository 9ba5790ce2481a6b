"""ResNet-20 on CIFAR-10: foldpress's int8 against onnxruntime's own quantizer, in one run.

Calibrated on 500 training images, scored on all 5,000 test images, timed against float32 in interleaved blocks of five
fresh processes. Usage: python tests/perf/resnet20_int8.py
"""

import os
import tempfile
from pathlib import Path
from typing import Any

SHARED = Path(__file__).parents[3] / "shared" / "data"
os.environ["FOLDPRESS_SHARED"] = str(SHARED)
FOLDER = Path(__file__).parents[1] / "data" / "resnet20"

import numpy as np  # noqa: E402
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static  # noqa: E402

import foldpress  # noqa: E402
from foldpress.data import Dataset  # noqa: E402
from foldpress.graph import input_specs, load_graph  # noqa: E402
from foldpress.runtime import open_session, predict  # noqa: E402
from foldpress.sources import read_data  # noqa: E402

CALIBRATION = 500


class Reader(CalibrationDataReader):  # type: ignore[misc]
    """One calibration image at a time, as onnxruntime's quantizer wants them."""

    def __init__(self, data: Dataset) -> None:
        self._feeds = data.batches(1)

    def get_next(self) -> dict[str, Any] | None:
        return next(self._feeds, None)


def main() -> None:
    if not SHARED.is_dir():
        print(f"skipped: no trained weights and images in {SHARED}")
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        graphs = press(folder)
        test = read_data("data:load", FOLDER)
        test = test.renamed({"x": input_specs(load_graph(graphs["float32"]))[0].name})
        np.savez(folder / "images.npz", **test.select(np.arange(64)).batch(slice(None)))  # type: ignore[arg-type]
        rows = foldpress.bench(list(graphs.values()), data=str(folder / "images.npz"), seconds=20)
        predicted = {name: predict(open_session(path), test, 50)[0].argmax(1) for name, path in graphs.items()}
        print(f"{'graph':<28}{'accuracy':>9}{'flips':>8}{'kB':>8}{'time over float32, 95 %':>28}")
        for (name, path), row in zip(graphs.items(), rows, strict=True):
            ratio = f"{1 / row['speedup']:.3f}"
            if row["speedup_low"] is not None:
                ratio += f" ({1 / row['speedup_high']:.3f}–{1 / row['speedup_low']:.3f})"
            accuracy, flips = (predicted[name] == test.y).mean(), (predicted[name] != predicted["float32"]).mean()
            print(f"{name:<28}{accuracy:>9.2%}{flips:>8.2%}{path.stat().st_size / 1000:>8.1f}{ratio:>28}")


def press(folder: Path) -> dict[str, Path]:
    """The float graph and its int8 versions, all calibrated on the same images."""
    train = read_data("data:load_train", FOLDER)
    calibration = train.select(np.random.default_rng(0).permutation(len(train))[:CALIBRATION])
    graphs = {
        name: folder / f"{name.replace(' ', '_')}.onnx"
        for name in ("float32", "foldpress", "ORT default", "ORT U8S8 per-channel")
    }
    weights = str(SHARED / "cifar10" / "resnet20-12fca82f.th")
    foldpress.export("model:build", graphs["float32"], data="data:load_train", weights=weights, folder=FOLDER)
    calibration = calibration.renamed({"x": input_specs(load_graph(graphs["float32"]))[0].name})
    np.savez(folder / "calibration.npz", **calibration.batch(slice(None)))  # type: ignore[arg-type]
    foldpress.quantize(
        graphs["float32"], graphs["foldpress"], data=str(folder / "calibration.npz"), samples=CALIBRATION
    )
    quantize_static(graphs["float32"], graphs["ORT default"], Reader(calibration))
    quantize_static(
        graphs["float32"],
        graphs["ORT U8S8 per-channel"],
        Reader(calibration),
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )
    return graphs


if __name__ == "__main__":
    main()
