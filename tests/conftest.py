"""Shared fixtures: one tiny trained classifier as ONNX text, its data, and a factory of recipes around it."""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from typer.testing import CliRunner, Result

from finished import Run, finish
from foldpress.benchmark.ratios import Ratio
from foldpress.cli import app
from foldpress.optimizer.blas import one_thread
from wrong_requests import Here

HIDDEN = 32
TRAINED_ON = 697  # the other 1,100 digits are held out
CLASSIFIER = """
<ir_version: 9, opset_import: ["" : 18]>
digits (float[N, 64] x) => (float[N, 10] scores) {
    hidden = Gemm(x, W, b)
    positive = Relu(hidden)
    scores = Gemm(positive, V, c)
}"""

Arrays = dict[str, NDArray[Any]]
Tables = dict[str, dict[str, Any]]
Invoke = Callable[..., Result]
WriteRecipe = Callable[..., Path]

# What every recipe of the tests says unless told otherwise. Latency is taken as briefly as it can be.
DEFAULTS: Tables = {
    "model": {"source": "net.onnx"},
    "data": {"source": "data.npz"},
    "folds": {"splits": 3, "test": 0.4},
    "quantize": {"target": "x86", "samples": 64},
    "benchmark": {"processes": 1, "seconds": 0.1},
    "gate": {"max_drop": 0.05},
}


@dataclass(frozen=True)
class Classifier:
    """A folder with net.onnx, data.npz (x, y) and train.npz (what it was trained on)."""

    folder: Path
    proto: onnx.ModelProto
    held_out: Arrays

    @property
    def net(self) -> Path:
        return self.folder / "net.onnx"

    @property
    def data(self) -> Path:
        return self.folder / "data.npz"


@pytest.fixture
def one_torch_thread() -> Iterator[None]:
    """Trainings of tiny networks: on a busy machine threads wait for each other."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session", autouse=True)
def one_blas_thread() -> Iterator[None]:
    """Linear algebra on one thread, as wherever foldpress prunes: on a busy machine two take six times the CPU time of one."""
    with one_thread():
        yield


@pytest.fixture(scope="session")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    """Handwritten digits: 64 pixels, 32 random features with ReLU, and logistic regression on them."""
    folder = tmp_path_factory.mktemp("classifier")
    pixels, labels = load_digits(return_X_y=True)
    x, y = (pixels / 16).astype(np.float32), labels.astype(np.int64)
    generator = np.random.default_rng(0)
    w = generator.normal(size=(64, HIDDEN)).astype(np.float32) / 4
    b = generator.normal(size=HIDDEN).astype(np.float32) / 4
    regression = LogisticRegression(max_iter=2000).fit(np.maximum(x @ w + b, 0)[:TRAINED_ON], y[:TRAINED_ON])
    weights = {"W": w, "b": b, "V": regression.coef_.T, "c": regression.intercept_}
    proto = onnx.parser.parse_model(CLASSIFIER)
    for name, array in weights.items():
        proto.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(array, np.float32), name))
    onnx.save(proto, folder / "net.onnx")
    held_out = {"x": x[TRAINED_ON:], "y": y[TRAINED_ON:]}
    np.savez(folder / "data.npz", **held_out)
    np.savez(folder / "train.npz", x=x[:TRAINED_ON], y=y[:TRAINED_ON])
    return Classifier(folder, proto, held_out)


@pytest.fixture
def recipe(classifier: Classifier, tmp_path: Path) -> WriteRecipe:
    """Copy the classifier and its data to tmp_path and write a recipe beside it; what is given as None is left out."""

    def write(**changes: dict[str, Any] | None) -> Path:
        for file in classifier.folder.iterdir():
            if not (tmp_path / file.name).exists():
                shutil.copy(file, tmp_path)
        tables = {name: table for name, table in changes.items() if table is not None and name not in DEFAULTS}
        for name, table in DEFAULTS.items():
            if name not in changes or changes[name] is not None:
                tables[name] = table | (changes.get(name) or {})
        lines = [f"[{name}]\n{_settings(table)}" for name, table in tables.items()]
        (tmp_path / "recipe.toml").write_text("\n".join(lines), encoding="utf-8")
        return tmp_path / "recipe.toml"

    return write


@pytest.fixture(scope="session")
def passed(classifier: Classifier, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that passes every limit, and its recipe."""
    return finish(classifier.folder, tmp_path_factory.mktemp("passed"))


@pytest.fixture
def run(
    passed: Path, tmp_path: Path, recipe: WriteRecipe, classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> Run:
    """A copy of it to damage."""
    shutil.copytree(passed, tmp_path, dirs_exist_ok=True)
    return Run(tmp_path, recipe, classifier.held_out, monkeypatch)


@pytest.fixture
def here(tmp_path: Path, recipe: WriteRecipe, classifier: Classifier) -> Here:
    """A folder to prepare a wrong request in."""
    recipe()
    return Here(tmp_path, recipe, classifier.held_out)


@pytest.fixture
def untimed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the latency out, for tests that ask for something else."""
    monkeypatch.setattr("foldpress.pipeline.measure", lambda *_: [])
    monkeypatch.setattr("foldpress.pruned_time.time_ratio", lambda *_: Ratio(1.0, 0.9, 1.1))


@pytest.fixture
def invoke() -> Invoke:
    """Run the real command line in this process; stdout and stderr are kept apart."""

    def call(*arguments: object) -> Result:
        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    return call


def _settings(table: dict[str, Any]) -> str:
    # JSON writes strings, numbers and lists as TOML does, but for NaN. A setting given as None is left out.
    given = {key: json.dumps(value).replace("NaN", "nan") for key, value in table.items() if value is not None}
    return "".join(f"{key} = {value}\n" for key, value in given.items())
