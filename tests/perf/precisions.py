"""Every precision on real networks: bytes, accuracy, changed predictions, and time over float32.

ViT on CIFAR-10 (5,000 test images), LSTM on spoken digits (900), models/sequence and a multilayer perceptron of
784–1024–1024–10 on MNIST (3,000 images held out; both are trained here). Static int8 and float16 see 500 training samples.
Times: batch 1, one thread, all graphs of a network interleaved, five fresh processes. ResNet-20 on CIFAR-10: accuracy by
bits of its weights. Scales: flips with 4 and 3 bits by the scale of least squared error, and by the one that just reaches
the largest weight. Usage: python tests/perf/precisions.py [network | bits | scales …]
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

SHARED = Path(os.environ.get("FOLDPRESS_SHARED", Path(__file__).parents[3] / "shared" / "data"))
os.environ["FOLDPRESS_SHARED"] = str(SHARED)
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
ROOT = Path(__file__).parents[2]

import numpy as np  # noqa: E402

import foldpress  # noqa: E402
from foldpress.data import Dataset, fit_inputs  # noqa: E402
from foldpress.errors import RequestError  # noqa: E402
from foldpress.exporter.export import export_source  # noqa: E402
from foldpress.graph import input_specs, load_graph, save_graph, serialize  # noqa: E402
from foldpress.optimizer import rounding  # noqa: E402
from foldpress.optimizer.cleanup import clean_up  # noqa: E402
from foldpress.optimizer.nbit_weights import NBitWeights  # noqa: E402
from foldpress.optimizer.passes import apply  # noqa: E402
from foldpress.optimizer.transformer_fusion import FuseTransformer  # noqa: E402
from foldpress.runtime import open_session, predict  # noqa: E402
from foldpress.sources import read_data  # noqa: E402

NETWORKS = {
    "vit": (ROOT / "tests/data/vit", SHARED / "cifar10/vit.pth"),
    "lstm": (ROOT / "tests/data/lstm", SHARED / "spoken_digits/best_modelFP.pth"),
    "sequence": (ROOT / "models/sequence", None),
    "mlp": (ROOT / "models/sequence", None),
}
PRECISIONS = ("static", "dynamic", "weight-int8", "weight-int4", "float16")
FUSED = ("vit", "sequence")
CALIBRATION, SECONDS = 500, 30.0
MLP = """
from torch import nn

def build():
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 1024), nn.ReLU(), nn.Linear(1024, 1024), nn.ReLU(), nn.Linear(1024, 10))
"""


def measure(network: str) -> None:
    """Print one row for each precision of a network."""
    with tempfile.TemporaryDirectory() as name:
        here = Path(name) / network
        weights = prepare(network, here)
        float32 = here / "float32.onnx"
        foldpress.export("model:build", float32, data="data:load", weights=str(weights), folder=here)
        specs = input_specs(load_graph(float32))
        data = fit_inputs(read_data("data:load", here), specs)
        train = fit_inputs(read_data("data:load_train", here), specs)
        calibration = save(train.select(np.random.default_rng(0).permutation(len(train))[:CALIBRATION]), here / "c.npz")
        graphs = {"float32": float32} | quantized(float32, PRECISIONS, calibration)
        if network in FUSED:
            fused = here / "fused.onnx"
            save_graph(apply([*clean_up(), FuseTransformer()], load_graph(float32)).model, fused)
            graphs |= {"fused": fused} | {
                f"fused, {k}": v for k, v in quantized(fused, ["dynamic"], calibration).items()
            }
        timed = foldpress.bench(
            list(graphs.values()), data=str(save(data.select(np.arange(64)), here / "t.npz")), seconds=SECONDS
        )
        show(network, graphs, data, timed)


def bits() -> None:
    """Print the accuracy of ResNet-20 by the bits of its weights."""
    folder = ROOT / "tests/data/resnet20"
    with tempfile.TemporaryDirectory() as name:
        float32 = Path(name) / "float32.onnx"
        weights = str(SHARED / "cifar10/resnet20-12fca82f.th")
        foldpress.export("model:build", float32, data="data:load", weights=weights, folder=folder)
        data = fit_inputs(read_data("data:load", folder), input_specs(load_graph(float32)))
        sample = save(data.select(np.arange(64)), Path(name) / "t.npz")
        graphs = {"float32": float32}
        for count in range(8, 0, -1):
            path = graphs[f"{count} bits"] = Path(name) / f"{count}.onnx"
            done = foldpress.quantize(float32, path, data=str(sample), precision="weights", bits=count)
            print(next(entry["detail"] for entry in done.log if entry["subject"].endswith(" weights")))
        show("resnet20", graphs, data, foldpress.bench(list(graphs.values()), data=str(sample), seconds=SECONDS))


def scales() -> None:
    """Print what the choice of scales does to predictions."""
    folders = ROOT / "tests/data"
    for network, weights in {
        "resnet20": SHARED / "cifar10/resnet20-12fca82f.th",
        "ds_cnn": SHARED / "kws/ds_cnn.safetensors",
        "lstm": SHARED / "spoken_digits/best_modelFP.pth",
    }.items():
        exported = export_source(
            "model:build", str(weights), folders / network, read_data("data:load", folders / network)
        )
        model = apply(clean_up(), exported.graph).model
        data = fit_inputs(read_data("data:load", folders / network), input_specs(model))
        before = predict(open_session(serialize(model)), data, 50)[0].argmax(1)
        for name, shares in {"least error": rounding._SHARES, "largest": np.ones(1, np.float32)}.items():
            with mock.patch.object(rounding, "_SHARES", shares):
                made = [apply([NBitWeights(count)], model).model for count in (4, 3)]
            found = [predict(open_session(serialize(one)), data, 50)[0].argmax(1) for one in made]
            told = "   ".join(f"{(one == data.y).mean():.2%} {(one != before).mean():.2%}" for one in found)
            print(f"{network:<10}{name:<13}{told}", flush=True)


def prepare(network: str, here: Path) -> Path:
    """Copy a network's folder, train it where it is not trained yet, and say where the weights are."""
    folder, weights = NETWORKS[network]
    shutil.copytree(folder, here)
    if weights is not None:
        return weights
    if network == "mlp":
        (here / "model.py").write_text(MLP, encoding="utf-8")
    subprocess.run([sys.executable, str(here / "train.py")], check=True)
    return here / "weights.safetensors"


def quantized(float32: Path, precisions: Any, calibration: Path) -> dict[str, Path]:
    """A graph's versions by precision; one that it cannot have is said and left out."""
    made = {}
    for precision in precisions:
        path = float32.with_name(f"{float32.stem}-{precision}.onnx")
        try:
            foldpress.quantize(float32, path, data=str(calibration), precision=precision, samples=CALIBRATION)
            made[precision] = path
        except RequestError as error:
            print(f"{precision}: {error.problem}")
    return made


def save(data: Dataset, path: Path) -> Path:
    """Samples as a file that `foldpress` reads."""
    np.savez(path, **data.batch(slice(None)))  # type: ignore[arg-type]
    return path


def show(network: str, graphs: dict[str, Path], data: Dataset, timed: list[dict[str, Any]]) -> None:
    """One line a graph: accuracy, flips, kB and time over float32 with its 95 % interval."""
    before = None
    for (name, path), row in zip(graphs.items(), timed, strict=True):
        found = predict(open_session(path), data, 50)[0].argmax(1)
        before = found if before is None else before
        ratio = "1"
        if row["speedup_low"] is not None:
            ratio = f"{1 / row['speedup']:.2f} ({1 / row['speedup_high']:.2f}–{1 / row['speedup_low']:.2f})"
        accuracy, flips = (found == data.y).mean(), (found != before).mean()
        size = path.stat().st_size / 1000
        print(f"{network:<10}{name:<16}{accuracy:>9.2%}{flips:>9.2%}{size:>9.0f} kB  {ratio}", flush=True)


if __name__ == "__main__":
    if not SHARED.is_dir():
        print(f"skipped: no trained weights and data in {SHARED}")
    else:
        alone = {"bits": bits, "scales": scales}
        for asked in sys.argv[1:] or [*NETWORKS, *alone]:
            if asked in alone:
                alone[asked]()
            else:
                measure(asked)
