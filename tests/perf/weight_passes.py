"""Passes over float weights compared: predictions that static int8 changes (flips) and the squared error of its scores.

Statistics are collected once for each calibration set; every set of passes and every target starts from them. arm stands for
tensorrt too, which has the same types. Calibration and scored samples as in calibration_methods.py; models/sequence is trained
first (two minutes), calibrated on three times other 500 training images, and scored on the 3,000 held out. DS-CNN is also quantized by onnxruntime's own calibrators.
Usage: python tests/perf/weight_passes.py [--targets x86-vnni,x86,arm] [network …]
"""

import argparse
import logging
import shutil
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from calibration_methods import (  # type: ignore[import-not-found]  # beside this script
    CALIBRATION,
    DRAWS,
    NETWORKS,
    ROOT,
    SHARED,
    outputs_of,
    splits,
)
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantType, quantize_static

import foldpress
from foldpress.data import Dataset, fit_inputs
from foldpress.graph import input_specs, load_graph, serialize
from foldpress.optimizer.cleanup import clean_up
from foldpress.optimizer.collection import Collection
from foldpress.optimizer.float_outputs import FloatOutputs
from foldpress.optimizer.learning import Learned
from foldpress.optimizer.passes import apply
from foldpress.optimizer.placement import nodes_left_float
from foldpress.optimizer.ranges import choose_ranges
from foldpress.optimizer.static_int8 import StaticInt8
from foldpress.optimizer.targets import TARGETS, Target
from foldpress.optimizer.weights import WeightPasses
from foldpress.runtime import open_session, predict
from foldpress.weight_passes import AUTO, AUTO_DEPTHWISE, WeightPass

SETS: tuple[tuple[WeightPass, ...], ...] = (
    (),
    ("bias-correction",),
    ("gptq",),
    ("gptq", "bias-correction"),
    ("equalization",),
    ("equalization", "gptq", "bias-correction"),
    ("smooth",),
    ("smooth", "bias-correction"),
    ("smooth", "gptq", "bias-correction"),
)
ELSEWHERE: tuple[tuple[WeightPass, ...], ...] = ((), AUTO, AUTO_DEPTHWISE)  # on other targets than the first
EVERY: tuple[WeightPass, ...] = ("equalization", "smooth", "gptq", "bias-correction")
ORT = {
    "MinMax": CalibrationMethod.MinMax,
    "Percentile": CalibrationMethod.Percentile,
    "Entropy": CalibrationMethod.Entropy,
}


class Reader(CalibrationDataReader):  # type: ignore[misc]
    """One sample at a time, as onnxruntime's quantizer wants them."""

    def __init__(self, data: Dataset) -> None:
        self._feeds = data.batches(1)

    def get_next(self) -> dict[str, Any] | None:
        return next(self._feeds, None)


def measure(network: str, targets: list[Target], scratch: Path) -> None:
    """Print one row for each target and set of passes."""
    folder, weights = _network(network, scratch)
    path = scratch / f"{network}.onnx"
    foldpress.export("model:build", path, data="data:load", weights=str(weights), folder=folder)
    model = apply(clean_up(), load_graph(path)).model
    specs = input_specs(model)
    rows: dict[str, list[tuple[float, float, float]]] = {}
    for calibration, scored in splits(network, folder):
        calibration, scored = fit_inputs(calibration, specs), fit_inputs(scored, specs)
        expected = scores(model, scored)
        rows.setdefault("float32", []).append((0.0, 0.0, accuracy(expected, scored)))
        numbers = np.zeros((1, len(calibration)), np.intp)
        learned = Collection(model, calibration, numbers, "histograms", EVERY).collect().all()
        made = {
            f"{target.name}: {' + '.join(names) or 'none'}": partial(quantized, model, target, names, learned)
            for number, target in enumerate(targets)
            for names in (ELSEWHERE if number else SETS)
        }
        if network == "ds_cnn":
            made |= {f"onnxruntime {name}": partial(by_onnxruntime, path, calibration, name) for name in ORT}
        for name, make in made.items():
            found = scores(make(), scored)
            flips = float((found.argmax(1) != expected.argmax(1)).mean())
            rows.setdefault(name, []).append((flips, float(((found - expected) ** 2).mean()), accuracy(found, scored)))
            print(f"  {network} {name}: {flips:.2%}", file=sys.stderr, flush=True)
    for name, parts in rows.items():
        flips, error, right = np.mean(parts, axis=0)
        each = " ".join(f"{part[0]:.2%}" for part in parts)
        print(f"{network:<10}{name:<54}{flips:>8.2%}{error:>9.4f}{right:>9.2%}  {each}", flush=True)


def quantized(model: ir.Model, target: Target, names: tuple[WeightPass, ...], learned: Learned) -> ir.Model:
    """Static int8 after these passes."""
    left_float = nodes_left_float(model, target)
    prepared = WeightPasses(names, target, left_float.keys()).prepare(model, learned)
    ranges, _ = choose_ranges(prepared.found, "auto", target, outputs_of(model))
    return apply([StaticInt8(ranges, target, left_float), FloatOutputs()], prepared.model).model


def by_onnxruntime(path: Path, calibration: Dataset, method: str) -> ir.Model:
    """onnxruntime's quantizer, U8S8 per channel."""
    output = path.with_name("onnxruntime.onnx")
    logging.disable(logging.WARNING)
    quantize_static(
        path,
        output,
        Reader(calibration),
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        calibrate_method=ORT[method],
    )
    return ir.load(output)


def scores(model: ir.Model, data: Dataset) -> Any:
    """Scores of each sample, [N, classes]."""
    return predict(open_session(serialize(model)), data, 50)[0]


def accuracy(found: Any, data: Dataset) -> float:
    return float((found.argmax(1) == data.y).mean())


def _network(network: str, scratch: Path) -> tuple[Path, Path]:
    """The folder of a network and its weights; models/sequence is trained in a copy."""
    if network != "sequence":
        found, weights = NETWORKS[network]
        return found, weights
    folder = scratch / "sequence"
    shutil.copytree(ROOT / "models" / "sequence", folder)
    subprocess.run([sys.executable, str(folder / "train.py")], check=True, capture_output=True)
    return folder, folder / "weights.safetensors"


if __name__ == "__main__":
    DRAWS["sequence"] = 3
    print(f"auto: {' + '.join(AUTO)}; with depthwise convolutions {' + '.join(AUTO_DEPTHWISE)}; {CALIBRATION} samples")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--targets", default="x86-vnni", help="the first with every set of passes, others with fewer")
    parser.add_argument("networks", nargs="*", default=["resnet20", "ds_cnn", "sequence", "vit"])
    options = parser.parse_args()
    targets = [TARGETS[name] for name in options.targets.split(",")]
    for asked in options.networks:
        if asked != "sequence" and not SHARED.is_dir():
            print(f"{asked} skipped: no trained weights and data in {SHARED}")
            continue
        with tempfile.TemporaryDirectory() as name:
            measure(asked, targets, Path(name))
