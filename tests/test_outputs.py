"""Networks that give a sequence of answers, or several outputs: judged by a metric of the user's, sample by sample."""

import json
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx import numpy_helper

from conftest import Invoke
from foldpress.benchmark.intervals import mean_upper

TAGGER = """
<ir_version: 9, opset_import: ["" : 18]>
tagger (float[N, 6, 8] x) => (float[N, 6, 3] tags, float[N, 6] lengths) {
    tags = MatMul(x, W)
    lengths = ReduceSum <keepdims = 0> (x, axes)
}"""
METRICS = """
def tokens(targets, outputs):
    tags, lengths = outputs
    return (tags.argmax(2) == targets).mean(1)
"""


@pytest.fixture
def graphs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A tagger, one whose weights are rounded to halves, and 400 sequences of six tokens with their tags."""
    monkeypatch.chdir(tmp_path)
    generator = np.random.default_rng(0)
    weights, x = generator.normal(size=(8, 3)), generator.normal(size=(400, 6, 8)).astype(np.float32)
    noise = generator.normal(size=(400, 6, 3)) / 4
    np.savez("data.npz", x=x, y=(x @ weights + noise).argmax(2))
    Path("metrics.py").write_text(METRICS)
    for name, array in (("float", weights), ("rounded", np.round(2 * weights) / 2)):
        proto = onnx.parser.parse_model(TAGGER)
        axes = numpy_helper.from_array(np.array([2], np.int64), "axes")
        proto.graph.initializer.extend([numpy_helper.from_array(array.astype(np.float32), "W"), axes])
        onnx.save(proto, f"{name}.onnx")
    return ["float.onnx", "rounded.onnx"]


def test_a_metric_by_sample_takes_all_outputs(graphs: list[str], invoke: Invoke) -> None:
    """Catches a second output that is dropped, tokens counted as samples, and a bound of another estimand."""
    judge = ["-d", "data.npz", "--task", "metrics:tokens", "--max-drop", "0.5", "--json", "-q"]
    result = invoke("validate", *graphs, *judge)
    assert result.exit_code == 0, result.output
    test = json.loads(result.stdout)["accuracy"]["test"]
    lost = np.subtract(*(scores(name) for name in graphs))
    assert test["n"] == 400
    assert test["drop"] == pytest.approx(lost.mean())
    assert test["drop_upper"] == pytest.approx(mean_upper(lost))
    assert test["divergence"]["kl_mean"] is None
    assert test["divergence"]["largest_difference_max"] > 0
    assert invoke("validate", *graphs, *judge[:5], "0.001", "-q").exit_code == 1


def scores(name: str) -> np.ndarray:
    """Each sequence's share of right tags, by numpy."""
    weight = numpy_helper.to_array(onnx.load(name).graph.initializer[0])
    with np.load("data.npz") as data:
        return np.asarray(((data["x"] @ weight).argmax(2) == data["y"]).mean(1))


def test_as_plain_classes_they_are_refused_with_the_way_out(graphs: list[str], invoke: Invoke) -> None:
    """Catches an argmax over tokens, which would give some figure."""
    result = invoke("validate", *graphs, "-d", "data.npz", "--max-drop", "0.5", "-q")
    assert result.exit_code == 2
    assert "class labels are integers [N]" in result.stderr or "your own metric" in result.stderr
