"""Networks that give a sequence of answers, or several outputs: judged by their classes, or by a metric of the user's."""

import json
from collections.abc import Callable
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

RECIPE = """
[model]
source = "float.onnx"
[data]
source = "padded.npz"
output = "tags"
[folds]
splits = 3
test = 0.4
[quantize]
target = "x86"
samples = 64
[benchmark]
processes = 1
seconds = 0.1
[gate]
max_drop = 0.1
max_flips = 0.2
max_class_drop = 0.2
max_disagreement = 0.5
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


def test_tags_are_classes_by_position(graphs: list[str], invoke: Invoke) -> None:
    """Catches an argmax over tokens, and a metric of the user's that gives another figure than the native one."""
    judge = ["-d", "data.npz", "--max-drop", "0.5", "--max-flips", "0.9", "--max-class-drop", "0.9", "--json", "-q"]
    result = invoke("validate", *graphs, *judge)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)["accuracy"]
    assert found["metric"] == "accuracy"
    assert found["test"]["drop"] == pytest.approx(np.subtract(*(scores(name) for name in graphs)).mean())
    assert found["test"]["flips"] > 0
    assert found["test"]["divergence"]["kl_mean"] > 0
    assert [one["class"] for one in found["classes"]] == [0, 1, 2]
    named = invoke("validate", *graphs, *judge, "--judged-output", "tags")
    assert json.loads(named.stdout)["accuracy"]["test"]["drop"] == found["test"]["drop"]


def test_the_output_that_the_targets_belong_to(graphs: list[str], invoke: Invoke) -> None:
    """Catches another output judged than the one that is named, by name and by position."""
    with np.load("data.npz") as data:
        np.savez("lengths.npz", x=data["x"], y=data["x"].sum(2))
    judge = ["-d", "lengths.npz", "--task", "regression", "--max-drop", "0.5", "--json", "-q", "--judged-output"]
    for asked in ("lengths", "1"):
        result = invoke("validate", *graphs, *judge, asked)
        assert result.exit_code == 0, result.output
        test = json.loads(result.stdout)["accuracy"]["test"]
        assert test["baseline"] == pytest.approx(1)
        assert test["divergence"]["largest_difference_max"] == 0  # the tags, which differ, are not looked at
    result = invoke("validate", *graphs, *judge, "words")
    assert (result.exit_code, "tags, lengths" in result.stderr) == (2, True)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda y: y[:, :4], "with targets [N, 4] classes are scores of that shape"),
        (lambda y: y + 3, "out of range"),
        (lambda y: np.where(np.arange(400)[:, None] == 7, -1, y), "no target that counts: index 7"),
        (lambda y: y / 2, "integers"),
    ],
)
def test_targets_that_do_not_fit_are_refused(
    change: Callable[[np.ndarray], np.ndarray], said: str, graphs: list[str], invoke: Invoke
) -> None:
    """Catches figures made of targets that belong to no position, or to no class."""
    with np.load("data.npz") as data:
        np.savez("wrong.npz", x=data["x"], y=change(data["y"]))
    result = invoke("validate", *graphs, "-d", "wrong.npz", "--max-drop", "0.5", "-q")
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in " ".join(result.stderr.split())


def test_a_run_of_a_tagger(graphs: list[str], invoke: Invoke) -> None:
    """Catches a step of the main job that takes every target for one class a sample; and a gate that does so later."""
    with np.load("data.npz") as data:
        y = np.where(np.arange(6) < np.random.default_rng(1).integers(1, 7, (400, 1)), data["y"], -100)
        np.savez("padded.npz", x=data["x"], y=y)
    Path("recipe.toml").write_text(RECIPE)
    result = invoke("run", "recipe.toml", "--json", "-q")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert [check["name"] for check in report["checks"]] == [
        "max_drop", "max_drop_folds", "max_flips", "max_class_drop", "max_disagreement",
    ]  # fmt: skip
    assert (report["accuracy"]["test"]["n"], report["accuracy"]["folds"]["n"]) == (160, 240)
    assert invoke("gate", "foldpress-run", "-q").exit_code == 0
    assert invoke("gate", "foldpress-run", "--max-drop", "0.001", "-q").exit_code in (1, 3)
    assert Path("foldpress-run/report.html").stat().st_size > 10_000
