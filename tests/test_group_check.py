"""A check by group where ignoring the groups would have passed.

Some speakers' microphones add a constant. The float network does not care: the weights of each feature sum to zero. Int8
does: a range that was calibrated without such a speaker clips all that it says to one value. A recipe for speakers that
calibration has never heard is judged right only by folds that keep speakers whole.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

from conftest import Classifier, Invoke

SPEAKERS, OFFSETS = 20, (3.0, -3.0)
NETWORK = """
<ir_version: 9, opset_import: ["" : 18]>
speech (float[N, 64] x) => (float[N, 10] scores) {
    hidden = Gemm(x, W)
    positive = Relu(hidden)
    scores = Gemm(positive, V)
}"""
RECIPE = """
[model]
source = "speech.onnx"
[data]
source = "speech.npz"
[folds]
scheme = "{scheme}"
splits = 5
[quantize]
target = "x86"
precision = "static"
calibration = "minmax"
[benchmark]
processes = 1
seconds = 0.1
[gate]
max_drop = 0.06
"""


@pytest.fixture
def judged(classifier: Classifier, tmp_path: Path, invoke: Invoke) -> Any:
    """Judge the same samples by a scheme, where the first speakers have these offsets."""
    weights = {one.name: numpy_helper.to_array(one) for one in classifier.proto.graph.initializer}
    x, y = classifier.held_out["x"], classifier.held_out["y"]
    first = weights["W"] - weights["W"].mean(0)

    def call(scheme: str, offsets: tuple[float, ...]) -> tuple[int, dict[str, Any]]:
        save_network(tmp_path / "speech.onnx", first, fitted(np.maximum(x @ first, 0), y))
        speaker = np.arange(len(x)) % SPEAKERS
        constant = np.array([*offsets, *[0.0] * SPEAKERS], np.float32)[speaker]
        np.savez(tmp_path / "speech.npz", x=x + constant[:, None], y=y, group=speaker)
        (tmp_path / "recipe.toml").write_text(RECIPE.format(scheme=scheme))
        result = invoke("run", tmp_path / "recipe.toml", "-o", tmp_path / "out", "--json", "-q")
        assert result.exit_code in (0, 1, 3), result.output
        return result.exit_code, json.loads(result.stdout)

    return call


def fitted(hidden: NDArray[np.float32], y: NDArray[np.int64]) -> NDArray[np.float32]:
    """The last layer, without a bias, by least squares."""
    return np.asarray(np.linalg.lstsq(hidden, np.eye(10)[y] - 0.1, rcond=None)[0], np.float32)


def save_network(path: Path, first: NDArray[np.float32], last: NDArray[np.float32]) -> None:
    proto = onnx.parser.parse_model(NETWORK)
    for name, array in (("W", first), ("V", last)):
        proto.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
    onnx.save(proto, path)


def test_ignoring_the_groups_would_have_passed(judged: Any) -> None:
    """Catches groups that are torn apart: every fold would have heard every speaker, and nothing would be lost."""
    code, ignoring = judged("kfold", OFFSETS)
    assert code == 0, ignoring["checks"]
    code, keeping = judged("group", OFFSETS)
    assert code != 0
    folds = keeping["accuracy"]["folds"]
    assert folds["drop_upper"] > 0.06 > ignoring["accuracy"]["folds"]["drop_upper"]
    assert folds["drop"] > ignoring["accuracy"]["folds"]["drop"]


def test_speakers_that_are_alike_pass(judged: Any) -> None:
    """Catches a check by group that never passes, whatever the groups are."""
    code, report = judged("group", ())
    assert code == 0, report["checks"]
    folds = report["accuracy"]["folds"]
    assert folds["groups"] == 16
    assert report["accuracy"]["test"]["groups"] == 4
