"""A trained network with labelled data, made once for the whole session: models/digits, trained as its user would."""

import shutil
import subprocess
import sys
from pathlib import Path

import onnx_ir as ir
import pytest

from foldpress.data import Dataset
from foldpress.exporter.export import export_source
from foldpress.optimizer.cleanup import clean_up
from foldpress.optimizer.passes import apply
from foldpress.sources import read_data

MODELS = Path(__file__).parents[1] / "models"


@pytest.fixture(scope="session")
def digits_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of models/digits with trained weights."""
    folder = tmp_path_factory.mktemp("digits")
    for name in ("model.py", "data.py", "train.py", "recipe.toml", "all.toml"):
        shutil.copy(MODELS / "digits" / name, folder / name)
    subprocess.run([sys.executable, str(folder / "train.py")], check=True, capture_output=True)
    return folder


@pytest.fixture(scope="session")
def digits_data(digits_folder: Path) -> Dataset:
    """Held-out digits, [N, 1, 8, 8] float32, with labels."""
    return read_data("data:load", digits_folder)


@pytest.fixture(scope="session")
def digits_graph(digits_folder: Path, digits_data: Dataset) -> ir.Model:
    """The exported and cleaned float graph."""
    exported = export_source("model:build", "weights.safetensors", digits_folder, digits_data)
    return apply(clean_up(), exported.graph).model
