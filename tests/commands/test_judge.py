"""`validate`, `gate` and `report`: judging again what was measured."""

from pathlib import Path

import onnx
import pytest

from conftest import Classifier, Invoke
from contract import CHECK, LEFT, TEST, document_of, json_file


@pytest.mark.parametrize("as_json", [False, True])
def test_validate(as_json: bool, work: Path, finished: Path, invoke: Invoke) -> None:
    """Catches a comparison of two graphs with the wrong exit code, or without the keys of the contract."""
    graphs = [work / "net.onnx", finished / "quantized.onnx"]
    options = ["--data", work / "data.npz", *(["--json"] if as_json else [])]
    for limit, code, verdict in (("drop=0.1", 0, "PASS"), ("flips=1e-9", 1, "FAIL")):
        result = invoke("validate", *graphs, *options, f"--max-{limit}")
        assert result.exit_code == code, result.stdout
        assert verdict in result.stdout
        if as_json:
            document = document_of(result, code)
            assert document.keys() >= {"verdict", "checks", "accuracy"}
            assert document["accuracy"]["test"].keys() >= TEST
            assert document["accuracy"]["test"]["n"] == 1100


def test_validate_does_not_say_what_it_does_not_know(work: Path, finished: Path, invoke: Invoke) -> None:
    """Catches a limit between what was measured and its bound that is taken as kept."""
    arguments = ["validate", work / "net.onnx", finished / "quantized.onnx", "-d", work / "data.npz", "--json"]
    measured = document_of(invoke(*arguments, "--max-drop", 0.5))["accuracy"]["test"]
    between = (max(measured["drop"], 0) + measured["drop_upper"]) / 2
    assert document_of(invoke(*arguments, "--max-drop", between), code=3)["verdict"] == "INCONCLUSIVE"


def test_validate_takes_a_graph_that_gives_labels(classifier: Classifier, invoke: Invoke, tmp_path: Path) -> None:
    """Catches labels [N, 1], as scikit-learn's exporter writes them, that are taken for the scores of one class."""
    proto = onnx.ModelProto()
    proto.CopyFrom(classifier.proto)
    proto.graph.node.append(onnx.helper.make_node("ArgMax", ["scores"], ["label"], axis=1, keepdims=1))
    proto.graph.output[0].CopyFrom(onnx.helper.make_tensor_value_info("label", onnx.TensorProto.INT64, ["N", 1]))
    onnx.save(proto, tmp_path / "labels.onnx")
    result = invoke(
        "validate", classifier.net, tmp_path / "labels.onnx", "-d", classifier.data, "--max-drop", 0.01, "--json"
    )
    test = document_of(result)["accuracy"]["test"]
    assert test["baseline"] == test["artifact"] > 0.7


@pytest.mark.parametrize("as_json", [False, True])
def test_gate_judges_saved_evidence_by_other_limits(as_json: bool, finished: Path, invoke: Invoke) -> None:
    """Catches a gate that ignores the limits given, forgets those of the run, or writes into the run."""
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*")}
    json_option = ["--json"] if as_json else []
    kept, broken = invoke("gate", finished, *json_option), invoke("gate", finished, "--max-bytes", 10, *json_option)
    assert (kept.exit_code, broken.exit_code) == (0, 1), kept.stderr + broken.stderr
    assert "PASS" in kept.stdout
    assert "FAIL" in broken.stdout
    if as_json:
        names = [check["name"] for check in document_of(broken, code=1)["checks"] if check.keys() >= CHECK]
        assert names == ["max_drop", "max_drop_folds", "max_bytes"]
    assert before == {path: path.stat().st_mtime_ns for path in finished.rglob("*")}


def test_gate_takes_no_changed_evidence(copied: Path, invoke: Invoke) -> None:
    """Catches evidence or an artifact that was exchanged after the run and still passes."""
    for name in ("quantized.onnx", "evidence/test.npz", "evidence/facts.json"):
        whole = (copied / name).read_bytes()
        for content in (whole + b" ", None):
            (copied / name).unlink()
            if content is not None:
                (copied / name).write_bytes(content)
            result = invoke("gate", copied)
            assert result.exit_code == 3
            assert name in result.stdout
            (copied / name).write_bytes(whole)


@pytest.mark.parametrize("content", ["", "5", "{}", '{"files": {}}'])
def test_gate_takes_no_manifest_that_vouches_for_nothing(content: str, copied: Path, invoke: Invoke) -> None:
    """Catches a manifest that is cut short or lists nothing, and so finds nothing changed."""
    (copied / "manifest.json").write_text(content, encoding="utf-8")
    assert invoke("gate", copied).exit_code in (2, 3)


def test_gate_where_there_is_no_run(invoke: Invoke, tmp_path: Path) -> None:
    """Catches a wrong path that looks like a verdict."""
    for command in ("gate", "report"):
        result = invoke(command, tmp_path)
        assert result.exit_code == 2
        assert "there is no run" in result.stderr


@pytest.mark.parametrize("as_json", [False, True])
def test_report_draws_again(as_json: bool, copied: Path, invoke: Invoke) -> None:
    """Catches reports that need the run again, or a redrawn run that the gate no longer takes."""
    before = json_file(copied / "report.json")
    for name in ("report.json", "report.html", "report.md", "junit.xml"):
        (copied / name).unlink()
    result = invoke("report", copied, *(["--json"] if as_json else []))
    assert result.exit_code == 0, result.stderr
    assert json_file(copied / "report.json") == before
    assert not [name for name in LEFT if not (copied / name).is_file()]
    assert invoke("gate", copied).exit_code == 0
    if as_json:
        assert document_of(result) == before
    else:
        assert "PASS" in result.stdout
