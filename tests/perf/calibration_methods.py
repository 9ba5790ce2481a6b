"""Calibration methods compared: predictions that int8 changes (flips) and accuracy, by network, method and target.

Statistics are collected once for each calibration set; every method chooses its ranges from them.
ResNet-20 and ViT: 500 training images (ResNet-20: four times other ones), scored on all 5,000 test images. DS-CNN: calibrated on one half, scored on the other,
and the other way round, four times. digits: 500 training images, scored on the 1,079 held out.
Usage: python tests/perf/calibration_methods.py [network …]
"""

import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

SHARED = Path(os.environ.get("FOLDPRESS_SHARED", Path(__file__).parents[3] / "shared" / "data"))
os.environ["FOLDPRESS_SHARED"] = str(SHARED)
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
ROOT = Path(__file__).parents[2]

import numpy as np  # noqa: E402
import onnx_ir as ir  # noqa: E402

import foldpress  # noqa: E402
from foldpress.data import Dataset, fit_inputs  # noqa: E402
from foldpress.graph import input_specs, load_graph, serialize  # noqa: E402
from foldpress.optimizer.cleanup import clean_up  # noqa: E402
from foldpress.optimizer.float_outputs import FloatOutputs  # noqa: E402
from foldpress.optimizer.histogram import collect_histograms  # noqa: E402
from foldpress.optimizer.passes import apply  # noqa: E402
from foldpress.optimizer.ranges import METHODS, choose_ranges  # noqa: E402
from foldpress.optimizer.static_int8 import StaticInt8, tensors_to_calibrate  # noqa: E402
from foldpress.optimizer.targets import TARGETS  # noqa: E402
from foldpress.runtime import open_session, predict  # noqa: E402
from foldpress.sources import read_data  # noqa: E402

NETWORKS = {
    "resnet20": (ROOT / "tests/data/resnet20", SHARED / "cifar10/resnet20-12fca82f.th"),
    "ds_cnn": (ROOT / "tests/data/ds_cnn", SHARED / "kws/ds_cnn.safetensors"),
    "vit": (ROOT / "tests/data/vit", SHARED / "cifar10/vit.pth"),
    "digits": (ROOT / "models/digits", ROOT / "models/digits/weights.safetensors"),
}
CALIBRATION = 500
HALVINGS = 4
DRAWS = {"resnet20": 4, "vit": 1, "digits": 1}  # the transformer takes minutes a draw


def splits(network: str, folder: Path) -> list[tuple[Dataset, Dataset]]:
    """Pairs of calibration samples and those that are scored."""
    data = read_data("data:load", folder)
    if network == "ds_cnn":
        orders = [np.random.default_rng(seed).permutation(len(data)) for seed in range(HALVINGS)]
        halves = [[data.select(order[start::2]) for start in (0, 1)] for order in orders]
        return [pair for first, second in halves for pair in ((first, second), (second, first))]
    train = read_data("data:load_train", folder)
    order = np.random.default_rng(0).permutation(len(train))
    return [(train.select(order[i * CALIBRATION :][:CALIBRATION]), data) for i in range(DRAWS[network])]


def measure(network: str) -> None:
    """Print one row for each target and method."""
    folder, weights = NETWORKS[network]
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "float32.onnx"
        foldpress.export("model:build", path, data="data:load", weights=str(weights), folder=folder)
        model = apply(clean_up(), load_graph(path)).model
    specs = input_specs(model)
    tensors = tensors_to_calibrate(model)
    rows: dict[tuple[str, str], list[Any]] = {}
    for calibration, scored in splits(network, folder):
        calibration, scored = fit_inputs(calibration, specs), fit_inputs(scored, specs)
        expected = classes(model, scored)
        rows.setdefault(("", "float32"), []).append((expected == expected, expected == scored.y, "", 0.0))
        start = time.perf_counter()
        found = collect_histograms(model, tensors, calibration, np.zeros((1, len(calibration)), np.intp)).all()
        print(f"{network}: histograms of {len(calibration)} samples in {time.perf_counter() - start:.1f} s", flush=True)
        for target in ("x86-vnni", "arm"):
            for method in METHODS:
                start = time.perf_counter()
                ranges, entry = choose_ranges(found, method, TARGETS[target], outputs_of(model))
                seconds = time.perf_counter() - start
                quantized = apply([StaticInt8(ranges, TARGETS[target]), FloatOutputs()], model).model
                predicted = classes(quantized, scored)
                row = (predicted == expected, predicted == scored.y, entry.detail.partition("; ")[2], seconds)
                rows.setdefault((target, method), []).append(row)
                print(f"  {target} {method}: {1 - row[0].mean():.2%}", file=sys.stderr, flush=True)
    for (target, method), parts in rows.items():
        same, right = (np.concatenate([part[i] for part in parts]) for i in (0, 1))
        flips = " ".join(f"{1 - part[0].mean():.2%}" for part in parts)
        print(
            f"{network:<10}{target:<10}{method:<13}{right.mean():>8.2%}{1 - same.mean():>8.2%}"
            f"{parts[0][3]:>7.2f} s  {parts[0][2]:<22}{flips}",
            flush=True,
        )


def outputs_of(model: ir.Model) -> frozenset[str]:
    """Names of the graph's own outputs."""
    return frozenset(str(value.name) for value in model.graph.outputs)


def classes(model: ir.Model, data: Dataset) -> Any:
    """The class that a graph gives each sample, [N]."""
    return predict(open_session(serialize(model)), data, 50)[0].argmax(1)


if __name__ == "__main__":
    if not SHARED.is_dir():
        print(f"skipped: no trained weights and data in {SHARED}")
    else:
        for asked in sys.argv[1:] or NETWORKS:
            measure(asked)
