"""The networks that pruning and factorization are measured on, exported and cleaned up, and the samples of each.

ResNet-20, the LSTM and the ViT have the weights and data of others (FOLDPRESS_SHARED); those on Fashion-MNIST must have been trained
by tests/data/fashion/train.py; those of models/ are trained first in a copy, unless they have been. FOLDPRESS_NETWORKS names the folder
of trained weights. To be imported before numpy: one BLAS thread, since with more, on a machine that is busy otherwise, waiting
threads cost many times that.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
os.environ |= {"ORT_DISABLE_TELEMETRY": "1", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
os.environ.setdefault("FOLDPRESS_SHARED", str(ROOT.parent / "shared" / "data"))

import numpy as np  # noqa: E402
import onnx_ir as ir  # noqa: E402

import foldpress  # noqa: E402
from foldpress.cost import graph_cost  # noqa: E402
from foldpress.data import Dataset, fit_inputs  # noqa: E402
from foldpress.errors import RequestError  # noqa: E402
from foldpress.graph import input_specs, load_graph  # noqa: E402
from foldpress.optimizer.cleanup import clean_up  # noqa: E402
from foldpress.optimizer.passes import apply  # noqa: E402
from foldpress.optimizer.press import Press  # noqa: E402
from foldpress.runtime import open_session, predict  # noqa: E402
from foldpress.sources import read_data  # noqa: E402

SHARED = Path(os.environ["FOLDPRESS_SHARED"])
FASHION = ROOT / "tests/data/fashion"
TRAINED = Path(os.environ.get("FOLDPRESS_NETWORKS", FASHION))
GIVEN = {
    "resnet20": "cifar10/resnet20-12fca82f.th",
    "lstm": "spoken_digits/best_modelFP.pth",
    "vit": "cifar10/vit.pth",
}
CALIBRATION = 512
_BATCH = 50


@dataclass(frozen=True, eq=False)
class Material:
    """A network; `CALIBRATION` samples drawn of its training data; and all that are held out, which nothing is fitted to."""

    model: ir.Model
    calibration: Dataset
    scored: Dataset

    def press(self, graph: ir.Model, **asked: Any) -> Press:
        """A press of the network, or of a graph made of it, that learns from all calibration samples at once."""
        return Press(graph, self.calibration, np.zeros((1, len(self.calibration)), np.intp), **asked)


def exported(network: str, scratch: Path) -> tuple[Path, Path]:
    """The .onnx file of a network, and the folder of its data.

    Raises:
        RequestError: there are no trained weights.
    """
    source, folder, weights = origin(network, scratch)
    if not weights.is_file():
        raise RequestError(f"there are no trained weights {weights}")
    path = scratch / f"{network}.onnx"
    foldpress.export(source, path, data="data:load", weights=str(weights), folder=folder)
    return path, folder


def material(path: Path, folder: Path, draw: int) -> Material:
    """A graph cleaned up, and its samples; `draw` seeds which of them it learns from."""
    model = apply(clean_up(), load_graph(path)).model
    train, scored = (
        fit_inputs(read_data(f"data:{name}", folder), input_specs(model)) for name in ("load_train", "load")
    )
    return Material(model, train.select(np.random.default_rng(draw).permutation(len(train))[:CALIBRATION]), scored)


def each(measure: Callable[[str, Path], None], networks: Iterable[str]) -> None:
    """Measure the networks that the command line names, or all of these; one that cannot be says why."""
    for network in sys.argv[1:] or networks:
        with tempfile.TemporaryDirectory(prefix="foldpress.") as scratch:
            try:
                measure(network, Path(scratch))
            except RequestError as error:
                print(f"{network} skipped: {error}", flush=True)


def macs(model: ir.Model) -> float:
    """Of one sample."""
    return float(sum(layer.macs or 0 for layer in graph_cost(model).layers))


def scores(model: ir.Model, data: Dataset) -> Any:
    """Scores of each sample, [N, classes]."""
    return predict(open_session(model), data, _BATCH)[0]


def accuracy(model: ir.Model, data: Dataset) -> float:
    """Share of samples whose class is right."""
    return float((scores(model, data).argmax(1) == data.y).mean())


def origin(network: str, scratch: Path) -> tuple[str, Path, Path]:
    """Source, folder and weights."""
    if network in GIVEN:
        return "model:build", ROOT / "tests/data" / network, SHARED / GIVEN[network]
    trained = TRAINED / network / "weights.safetensors"
    if (FASHION / f"{network}.py").is_file():
        return f"{network}:build", FASHION, trained
    if trained.is_file():
        return "model:build", ROOT / "models" / network, trained
    folder = scratch / network
    shutil.copytree(ROOT / "models" / network, folder)
    subprocess.run([sys.executable, str(folder / "train.py")], check=True, capture_output=True)
    return "model:build", folder, folder / "weights.safetensors"
