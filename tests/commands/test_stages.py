"""`export`, `prune` and `quantize`, and that the recipe knows the same options."""

import json
import re
from pathlib import Path

import onnx
import pytest

from conftest import Classifier, Invoke, WriteRecipe
from contract import STAGE, document_of


@pytest.mark.usefixtures("untimed")
@pytest.mark.parametrize("as_json", [False, True])
def test_export_prune_and_quantize(as_json: bool, work: Path, invoke: Invoke, tmp_path: Path) -> None:
    """Catches a stage whose command differs from the contract, or whose file is not what it says."""
    net, data = work / "net.onnx", work / "data.npz"
    commands: dict[str, list[object]] = {
        "export": ["export", net],
        "prune": ["prune", net, "--macs", 0.8],
        "share": ["share", net, "--bits", 3],
        "sparse": ["prune", net, "--method", "unstructured", "--sparsity", 0.5],
        "quantize": ["quantize", net, "--target", "auto", "--precision", "static"],
    }
    for name, command in (
        commands.items() if as_json else [("export", commands["export"])]
    ):  # the text is the same for all
        output = tmp_path / "new" / f"{name}.onnx"
        result = invoke(*command, "-o", output, "--data", data, *(["--json"] if as_json else []))
        assert result.exit_code == 0, result.stderr
        assert output.is_file()
        if as_json:
            document = document_of(result)
            assert document.keys() >= STAGE
            assert document["output"] == str(output)
            assert document["bytes"] == output.stat().st_size
        else:
            assert str(output) in result.stdout.replace("\n", "")


@pytest.mark.usefixtures("untimed")
def test_quantize_takes_the_statistics_of_a_run(recipe: WriteRecipe, invoke: Invoke, tmp_path: Path) -> None:
    """Catches a run's file that fits no other command; another graph than the run made from the same statistics."""
    out, small = tmp_path / "out", tmp_path / "small.onnx"
    assert invoke("run", recipe(quantize={"precision": "static"}), "-o", out).exit_code == 0
    arguments = ["quantize", out / "exported.onnx", "-o", small, "-d", tmp_path / "data.npz", "--precision", "static",
                 "--target", "x86", "--statistics", out / "statistics.npz"]  # fmt: skip
    said = document_of(invoke(*arguments, "--json"))["log"]
    assert small.read_bytes() == (out / "quantized.onnx").read_bytes()
    assert [entry["detail"] for entry in said if entry["subject"] == "samples"] == ["the 96 of statistics.npz"]
    stale = invoke(*arguments, "--calibration", "minmax", "--samples", 50)
    assert stale.exit_code == 2
    assert re.search(
        r"statistics\.npz does not fit: .* other samples \(.*, kind \(2048 bins, not ranges\)", stale.stderr
    )


@pytest.mark.usefixtures("untimed")
def test_too_few_calibration_samples_are_said(recipe: WriteRecipe, invoke: Invoke, tmp_path: Path) -> None:
    """Catches calibration on fewer samples than the recipe or the option asks for, in silence."""
    path, out = recipe(quantize={"samples": 5000}), tmp_path / "out"
    assert invoke("run", path, "-o", out).exit_code == 0
    assert "asked for 5000, 440 available when a fold is left out" in (out / "report.html").read_text(encoding="utf-8")
    arguments = ["quantize", tmp_path / "net.onnx", "-o", tmp_path / "q.onnx", "-d", tmp_path / "data.npz", "--json",
                 "--precision", "static"]  # fmt: skip
    few, enough = (document_of(invoke(*arguments, "--samples", count)) for count in (5000, 100))
    said = [entry for entry in few["log"] if entry["pass"] == "calibration"]
    assert [entry["detail"] for entry in said if entry["subject"] == "samples"] == ["asked for 5000, 1100 available"]
    assert "samples" not in {entry["subject"] for entry in enough["log"]}


@pytest.mark.parametrize(
    ("options", "settings", "made_by", "share"),
    [
        (["--precision", "weight-int8"], ["precision=weight-int8"], "weight-int8", 0.7),
        (["--precision", "weight-int4"], ["precision=weight-int4"], "weight-int4", 0.6),
        (["--precision", "weights", "--bits", "5"], ["precision=weights", "bits=5"], "n-bit-weights", 0.6),
        (["--precision", "float16"], ["precision=float16"], "float16", 0.8),
    ],
)
def test_other_precisions_by_recipe_and_command(
    options: list[str], settings: list[str], made_by: str, share: float,
    classifier: Classifier, recipe: WriteRecipe, invoke: Invoke, tmp_path: Path,
) -> None:  # fmt: skip
    """Catches a precision or its bits that the command line or the recipe does not pass on, in any round."""
    out = tmp_path / "small.onnx"
    done = invoke("quantize", classifier.net, "-o", out, "--data", classifier.data, *options, "--json")
    assert done.exit_code == 0, done.stderr
    assert made_by in {entry["pass"] for entry in json.loads(done.stdout)["log"]}
    assert out.stat().st_size < share * classifier.net.stat().st_size
    overrides = [part for setting in settings for part in ("--set", f"quantize.{setting}")]
    ran = invoke("run", recipe(), "-o", tmp_path / "out", *overrides, "--json")
    assert ran.exit_code == 0, ran.stderr
    report = json.loads(ran.stdout)
    assert report["graphs"]["quantized.onnx"]["macs"] == report["graphs"]["exported.onnx"]["macs"]
    again = invoke("quantize", out, "-o", tmp_path / "again.onnx", "--data", classifier.data)
    assert again.exit_code == 2
    assert "start from the float" in again.stderr


def test_dynamic_int8_by_recipe_and_command(
    classifier: Classifier, recipe: WriteRecipe, invoke: Invoke, tmp_path: Path
) -> None:
    """Catches a precision that the command line or the recipe does not pass on."""
    out = tmp_path / "dynamic.onnx"
    done = invoke("quantize", classifier.net, "-o", out, "--data", classifier.data, "--precision", "dynamic", "--json")
    assert done.exit_code == 0, done.stderr
    assert "dynamic-int8" in {entry["pass"] for entry in json.loads(done.stdout)["log"]}
    assert (
        invoke("quantize", classifier.net, "-o", out, "--data", classifier.data, "--precision", "int3").exit_code == 2
    )
    ran = invoke("run", recipe(), "-o", tmp_path / "out", "--set", "quantize.precision=dynamic", "--json")
    assert ran.exit_code == 0, ran.stderr
    assert "MatMulInteger" in {node.op_type for node in onnx.load(tmp_path / "out" / "quantized.onnx").graph.node}


def test_options_that_do_not_go_together(classifier: Classifier, invoke: Invoke, tmp_path: Path) -> None:
    """Catches an option without effect that nobody is told of."""
    for wrong in (["--bits", "4"], ["--precision", "weights"], ["--precision", "float16", "--calibration", "mse"]):
        done = invoke("quantize", classifier.net, "-o", tmp_path / "x.onnx", "--data", classifier.data, *wrong)
        assert done.exit_code == 2
        assert not (tmp_path / "x.onnx").exists()
