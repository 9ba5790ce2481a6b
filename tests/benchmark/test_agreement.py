"""The artifact against itself: what changes is counted, what fails is told, and only what was compared can pass."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest

from foldpress.benchmark import agreement
from foldpress.benchmark.agreement import agreement_block, self_agreement
from foldpress.benchmark.checks import Figures
from foldpress.benchmark.gate import judge
from foldpress.benchmark.intervals import clopper_pearson_upper
from foldpress.benchmark.scoring import make_task
from foldpress.data import Array, Dataset
from foldpress.errors import GraphError

LABELS = np.arange(100) % 3
CLASSES = make_task("classification", Path(), LABELS)
SAMPLES = Dataset({"x": np.eye(3, dtype=np.float32)[LABELS]}, LABELS)
ON_CPU: dict[str, Any] = {"provider": "CPUExecutionProvider"}


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    text = """<ir_version: 9, opset_import: ["" : 18]> g (float[N, 3] x) => (float[N, 3] y) { y = Relu(x) }"""
    onnx.save(onnx.parser.parse_model(text), tmp_path / "net.onnx")
    return tmp_path / "net.onnx"


def test_a_graph_that_computes_the_same_agrees(graph: Path) -> None:
    """Catches a setting left out, and one that is compared with nothing."""
    found = self_agreement(graph, SAMPLES, CLASSES, ON_CPU)
    assert [one["setting"].split(" ", 1)[-1] for one in found["settings"]] == ["off", "threads", "32"]
    assert [(one["changed"], one["largest_difference"]) for one in found["settings"]] == [(0, 0.0)] * 3
    assert (found["n"], found["reference"]) == (100, "optimized, 1 thread, batch 1")
    assert "another instruction set" in found["not_applicable"]


def test_changed_predictions_are_counted_in_the_setting_where_they_change(
    graph: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches differences summed over settings, and a failing setting taken for one that agrees."""

    def outputs(_graph: Path, samples: Dataset, setting: agreement.Setting, _provider: Any) -> list[Array]:
        scores = samples.inputs["x"].copy()
        if not setting.options.get("optimize", True):
            scores[:7] = scores[:7, [2, 0, 1]]
        if setting.batch > 1:
            raise GraphError("no such batch")
        return [scores]

    monkeypatch.setattr(agreement, "_outputs", outputs)
    found = self_agreement(graph, SAMPLES, CLASSES, ON_CPU)
    assert [one["changed"] for one in found["settings"]] == [7, 0, None]
    block = agreement_block(found, 0.95)
    assert block is not None
    assert (block["share"], block["share_why"]) == (None, "batch 32: no such batch")
    (check,) = judge({"max_disagreement": 1.0}, Figures(0.95, agreement=block))
    assert (check.verdict, "no such batch" in check.why) == ("INCONCLUSIVE", True)


@pytest.mark.parametrize(
    ("changed", "limit", "verdict"), [([0, 0], 0.03, "PASS"), ([0, 2], 0.03, "INCONCLUSIVE"), ([4, 0], 0.03, "FAIL")]
)
def test_max_disagreement_is_judged_by_the_worst_setting(changed: list[int], limit: float, verdict: str) -> None:
    """Catches an average over settings, and the measured share judged without its bound."""
    settings = [{"setting": str(count), "changed": count, "largest_difference": 0.0} for count in changed]
    block = agreement_block({"n": 100, "reference": "", "settings": settings, "not_applicable": {}}, 0.95)
    (check,) = judge({"max_disagreement": limit}, Figures(0.95, agreement=block))
    assert (check.verdict, check.value, check.n) == (verdict, max(changed) / 100, 100)
    assert check.bound == clopper_pearson_upper(max(changed), 100)


def test_numbers_are_compared_by_how_far_they_move(graph: Path) -> None:
    """Catches a regression told to agree because nothing flips."""
    task = make_task("regression", Path(), SAMPLES.inputs["x"])
    found = self_agreement(graph, SAMPLES, task, ON_CPU)
    assert {one["changed_why"] for one in found["settings"]} == {"numbers do not flip"}
    assert [
        agreement._difference(np.array([2.0, np.nan]), np.array(other)) for other in ([1.0, np.nan], [2.0, 0.0])
    ] == [0.5, np.inf]


def test_an_output_that_is_no_number_is_a_difference(graph: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches NaN that compares unequal to everything and so to nothing, and an infinity that JSON cannot hold."""
    scores = SAMPLES.inputs["x"]
    broken = np.where(np.arange(100)[:, None] == 5, np.nan, scores)
    monkeypatch.setattr(
        agreement, "_outputs", lambda _graph, _samples, setting, _on: [broken if "off" in setting.name else scores]
    )
    found = self_agreement(graph, SAMPLES, CLASSES, ON_CPU)["settings"]
    assert (found[0]["changed"], found[0]["largest_difference"]) == (1, None)
    assert found[0]["largest_difference_why"]
    assert found[1]["largest_difference"] == 0


def test_a_fixed_batch_is_not_applicable(tmp_path: Path) -> None:
    """Catches a graph for one sample at a time that fails at batch 32 and can never pass."""
    text = """<ir_version: 9, opset_import: ["" : 18]> g (float[1, 3] x) => (float[1, 3] y) { y = Relu(x) }"""
    onnx.save(onnx.parser.parse_model(text), tmp_path / "one.onnx")
    found = self_agreement(tmp_path / "one.onnx", SAMPLES, CLASSES, ON_CPU)
    assert [one["changed"] for one in found["settings"]] == [0, 0]
    assert found["not_applicable"]["another batch size"] == "the graph takes exactly 1 at once"
