"""Damaged on purpose: a network that lost three channels of one layer, on real images. The gate has to notice."""

import os
import shutil
from pathlib import Path

import onnx
import pytest
from onnx import numpy_helper

import foldpress
from conftest import Invoke

SHARED = Path(os.environ.get("FOLDPRESS_SHARED", Path(__file__).parents[2] / "shared" / "data"))
WEIGHTS = SHARED / "cifar10/resnet20-12fca82f.th"
LAYER, CHANNELS = "layer2.0.conv1.weight", (3, 11, 20)

pytestmark = pytest.mark.skipif(not WEIGHTS.is_file(), reason=f"the trained weights are not in {SHARED}")


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ResNet-20 as an .onnx file, in a folder with its data."""
    folder = tmp_path_factory.mktemp("resnet20")
    shutil.copytree(Path(__file__).parent / "data/resnet20", folder, dirs_exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FOLDPRESS_SHARED", str(SHARED))
        foldpress.export("model:build", folder / "net.onnx", data="data:load", weights=str(WEIGHTS), folder=folder)
    return folder / "net.onnx"


def zeroed(path: Path, layer: str, channels: tuple[int, ...]) -> Path:
    """A copy of a graph in which some output channels of one layer are zero."""
    proto = onnx.load(path)
    (weight,) = [one for one in proto.graph.initializer if one.name == layer]
    array = numpy_helper.to_array(weight).copy()
    array[list(channels)] = 0
    weight.CopyFrom(numpy_helper.from_array(array, weight.name))
    onnx.save(proto, path.with_name("damaged.onnx"))
    return path.with_name("damaged.onnx")


def test_three_dead_channels_are_noticed(
    exported: Path, invoke: Invoke, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Catches a gate that lets damage through which a glance at a few images would not show; and one that refuses all."""
    monkeypatch.setenv("FOLDPRESS_SHARED", str(SHARED))
    monkeypatch.chdir(exported.parent)
    name = next(
        one.name for one in onnx.load(exported).graph.initializer if one.name.startswith(LAYER.rpartition(".")[0])
    )
    judge = ["-d", "data:load", "--max-drop", "0.01", "--max-flips", "0.05", "-q"]
    assert invoke("validate", exported, zeroed(exported, name, CHANNELS), *judge).exit_code in (1, 3)
    assert invoke("validate", exported, exported, *judge).exit_code == 0
