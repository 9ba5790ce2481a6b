"""Every command of the contract's table, on the tiny classifier: exit codes, JSON documents, and what is imported."""

import json
import logging
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import onnx
import pytest

from conftest import Classifier, Invoke, WriteRecipe

COMMANDS = (
    "run",
    "init",
    "export",
    "prune",
    "factorize",
    "quantize",
    "validate",
    "bench",
    "gate",
    "report",
    "inspect",
    "doctor",
)
STAGES = ("export", "statistics", "precision", "press", "folds", "test", "latency", "agreement")
GRAPHS = ("exported.onnx", "pruned.onnx", "quantized.onnx")
LEFT = (*GRAPHS, "report.json", "report.html", "report.md", "junit.xml", "run.log", "manifest.json",
        "evidence/folds.npz", "evidence/test.npz", "evidence/latency.json")  # fmt: skip

REPORT = {"schema", "verdict", "artifact", "checks", "accuracy", "graphs", "latency", "timing", "environment"}
CHECK = {"name", "verdict", "value", "bound", "limit", "n", "why"}
TEST = {"n", "baseline", "artifact", "drop", "drop_upper", "flips", "flips_upper"}
FOLDS = {"n", "baseline", "artifact", "drop", "drop_upper", "flips", "each"}
FOLD = {"fold", "n", "baseline", "artifact", "drop", "flips"}
GRAPH = {"bytes", "parameters", "macs", "sparsity", "sha256"}
LATENCY = {"provider", "batch", "threads", "graph", "n", "p50_ms", "p90_ms", "p99_ms", "speedup", "speedup_low",
           "speedup_high", "placement", "peak_rss_mb", "load_ms"}  # fmt: skip
STAGE = {"output", "bytes", "macs", "parameters", "seconds", "log"}
INSPECTED = {"bytes", "parameters", "macs", "sparsity", "operators", "layers"}

# A finder that refuses torch: whatever imports it fails at once.
WITHOUT_TORCH = """
import sys

class Refused:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ImportError("torch was imported")

sys.meta_path.insert(0, Refused())
from foldpress.cli import app
app()
"""


@pytest.fixture(scope="module")
def work(classifier: Classifier, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of this module's own, with the classifier, its data and a recipe that also prunes."""
    folder = tmp_path_factory.mktemp("cli") / "work"
    shutil.copytree(classifier.folder, folder)
    (folder / "recipe.toml").write_text(
        '[model]\nsource = "net.onnx"\n[data]\nsource = "data.npz"\ntrain = "train.npz"\n'
        '[folds]\nsplits = 3\ntest = 0.4\n[prune]\nmacs = 0.8\n[quantize]\ntarget = "x86"\nsamples = 64\n'
        "[benchmark]\nprocesses = 1\nseconds = 0.1\n[gate]\nmax_drop = 0.05\n",
        encoding="utf-8",
    )
    return folder


@pytest.fixture(scope="module")
def finished(work: Path) -> Path:
    """A run of that recipe, in a process where torch cannot be imported. Tests that change it take a copy."""
    done = _process("-c", WITHOUT_TORCH, "run", str(work / "recipe.toml"), "-o", str(work / "out"))
    assert done.returncode == 0, done.stderr
    assert done.stdout
    assert "timing at batch 1" in done.stderr
    return work / "out"


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished run."""
    return Path(shutil.copytree(finished, tmp_path / "out"))


@pytest.fixture
def untimed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the latency out, for tests that ask for something else."""
    monkeypatch.setattr("foldpress.pipeline.measure", lambda *_: [])


def test_a_run_on_an_onnx_file_needs_no_torch_and_leaves_all_that_is_promised(finished: Path) -> None:
    """Catches a torch import on the way of who has none, and a promised file that is not there."""
    assert not [name for name in LEFT if not (finished / name).is_file()]
    assert _json_file(finished / "manifest.json")["files"].keys() >= set(LEFT) - {"run.log", "manifest.json"}


def test_report_json_has_every_key_of_the_contract(finished: Path) -> None:
    """Catches a key that was dropped or renamed: build pipelines read them."""
    report = _json_file(finished / "report.json")
    assert report.keys() >= REPORT
    assert report["schema"] == 1
    assert report["artifact"] == "quantized.onnx"
    assert all(check.keys() >= CHECK for check in report["checks"])
    assert report["accuracy"]["test"].keys() >= TEST
    assert report["accuracy"]["folds"].keys() >= FOLDS
    assert [fold["fold"] for fold in report["accuracy"]["folds"]["each"] if fold.keys() >= FOLD] == [0, 1, 2]
    assert report["graphs"].keys() == set(GRAPHS)
    assert all(graph.keys() >= GRAPH for graph in report["graphs"].values())
    assert [row["graph"] for row in report["latency"] if row.keys() >= LATENCY] == list(GRAPHS)


def test_a_null_has_its_reason_beside_it(finished: Path) -> None:
    """Catches a figure that could not be measured and does not say why."""
    report = _json_file(finished / "report.json")
    blocks = [report["accuracy"]["test"], report["accuracy"]["folds"], *report["graphs"].values(), *report["latency"]]
    assert not [
        name for block in blocks for name, value in block.items() if value is None and f"{name}_why" not in block
    ]


@pytest.mark.usefixtures("untimed")
def test_run_prints_its_report(work: Path, invoke: Invoke, tmp_path: Path) -> None:
    """Catches a document on stdout that is not the report, or is not alone there."""
    document = _document(invoke("run", work / "recipe.toml", "-o", tmp_path / "out", "--json"))
    assert document == _json_file(tmp_path / "out/report.json")


@pytest.mark.usefixtures("untimed")
def test_a_broken_limit_exits_with_1(work: Path, invoke: Invoke, tmp_path: Path) -> None:
    """Catches a FAIL that lets a release through."""
    result = invoke("run", work / "recipe.toml", "-o", tmp_path / "out", "--set", "gate.max_bytes=10 B")
    assert result.exit_code == 1
    assert "FAIL" in result.stdout
    assert (tmp_path / "out/manifest.json").is_file()


@pytest.mark.usefixtures("untimed")
def test_two_runs_give_the_same_bytes(work: Path, finished: Path, invoke: Invoke, tmp_path: Path) -> None:
    """Catches a seed that is not fixed, a time or a path in the graph: a release could not be reproduced."""
    invoke("run", work / "recipe.toml", "-o", tmp_path / "out")
    assert [(tmp_path / "out" / name).read_bytes() for name in GRAPHS] == [
        (finished / name).read_bytes() for name in GRAPHS
    ]


@pytest.mark.usefixtures("untimed")
def test_set_overrides_the_recipe(recipe: WriteRecipe, invoke: Invoke, tmp_path: Path) -> None:
    """Catches --set that is not applied, takes only numbers, or cannot make a new table."""
    result = invoke("run", recipe(), "-o", tmp_path / "out", "--json", "--set", "gate.max_bytes=1 MB",
                    "--set", "gate.max_drop=0.5", "--set", "prune.macs=0.5", "--set", "folds.splits=4")  # fmt: skip
    report = _document(result)
    limits = {check["name"]: check["limit"] for check in report["checks"]}
    assert limits == {"max_drop": 0.5, "max_drop_folds": 0.5, "max_bytes": 1_000_000}
    assert len(report["accuracy"]["folds"]["each"]) == 4
    assert "pruned.onnx" in report["graphs"]


def test_resume_takes_over_what_is_finished_and_judges_anew(
    work: Path, copied: Path, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches --resume that runs a finished stage again, or keeps the old verdict although the limits changed."""
    monkeypatch.setattr("foldpress.pipeline.measure", lambda *_: pytest.fail("timed again"))
    result = invoke("run", work / "recipe.toml", "-o", copied, "--resume", "--set", "gate.max_bytes=10")
    assert result.exit_code == 1, result.stderr
    assert _json_file(copied / "report.json")["verdict"] == "FAIL"
    log = (copied / "run.log").read_text(encoding="utf-8")
    assert re.findall(r"(\w+): taken over", log) == list(STAGES)


@pytest.mark.usefixtures("untimed")
@pytest.mark.parametrize(
    ("change", "again"),
    [("graph", ["press"]), ("settings", list(STAGES))],
)
def test_resume_does_again_what_no_longer_holds(
    change: str, again: list[str], work: Path, copied: Path, invoke: Invoke
) -> None:
    """Catches --resume that takes over a file that was changed since, or products of other settings."""
    options = []
    if change == "graph":
        (copied / "quantized.onnx").write_bytes(b"changed")
    else:
        options = ["--set", "quantize.samples=32"]
    assert invoke("run", work / "recipe.toml", "-o", copied, "--resume", *options).exit_code == 0
    taken = re.findall(r"(\w+): taken over", (copied / "run.log").read_text(encoding="utf-8"))
    assert taken == [stage for stage in STAGES if stage not in again]


@pytest.mark.usefixtures("untimed")
def test_resume_after_an_interruption_reuses_the_statistics(
    recipe: WriteRecipe, invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a second pass over the calibration samples, and another graph because of it."""
    path, out = recipe(), tmp_path / "out"
    assert invoke("run", path, "-o", out).exit_code == 0
    graph = (out / "quantized.onnx").read_bytes()
    journal = _json_file(out / "journal.json")
    journal["stages"] = {name: journal["stages"][name] for name in ("export", "statistics")}
    (out / "journal.json").write_text(json.dumps(journal), encoding="utf-8")
    monkeypatch.setattr("foldpress.optimizer.collection.accumulate", lambda *_: pytest.fail("collected"))
    assert invoke("run", path, "-o", out, "--resume").exit_code == 0
    assert "statistics.npz: reused" in (out / "run.log").read_text(encoding="utf-8")
    assert (out / "quantized.onnx").read_bytes() == graph


@pytest.mark.usefixtures("untimed")
def test_quantize_takes_the_statistics_of_a_run(recipe: WriteRecipe, invoke: Invoke, tmp_path: Path) -> None:
    """Catches a run's file that fits no other command; another graph than the run made from the same statistics."""
    out, small = tmp_path / "out", tmp_path / "small.onnx"
    assert invoke("run", recipe(quantize={"precision": "static"}), "-o", out).exit_code == 0
    arguments = ["quantize", out / "exported.onnx", "-o", small, "-d", tmp_path / "data.npz", "--precision", "static",
                 "--target", "x86", "--statistics", out / "statistics.npz"]  # fmt: skip
    said = _document(invoke(*arguments, "--json"))["log"]
    assert small.read_bytes() == (out / "quantized.onnx").read_bytes()
    assert [entry["detail"] for entry in said if entry["subject"] == "samples"] == ["the 96 of statistics.npz"]
    stale = invoke(*arguments, "--calibration", "minmax", "--samples", 50)
    assert stale.exit_code == 2
    assert re.search(
        r"statistics\.npz does not fit: .* other samples \(.*, kind \(2048 bins, not ranges\)", stale.stderr
    )


@pytest.mark.usefixtures("untimed")
def test_without_resume_statistics_are_collected_anew(recipe: WriteRecipe, invoke: Invoke, tmp_path: Path) -> None:
    """Catches a plain run that takes over statistics unasked, and a file that stays where it no longer belongs."""
    out = tmp_path / "out"
    for _ in range(2):
        assert invoke("run", recipe(quantize={"precision": "static"}), "-o", out).exit_code == 0
        assert "statistics.npz: reused" not in (out / "run.log").read_text(encoding="utf-8")
    assert invoke("run", recipe(quantize={"precision": "dynamic"}), "-o", out).exit_code == 0
    assert not (out / "statistics.npz").exists()


@pytest.mark.usefixtures("untimed")
def test_too_few_calibration_samples_are_said(recipe: WriteRecipe, invoke: Invoke, tmp_path: Path) -> None:
    """Catches calibration on fewer samples than the recipe or the option asks for, in silence."""
    path, out = recipe(quantize={"samples": 5000}), tmp_path / "out"
    assert invoke("run", path, "-o", out).exit_code == 0
    assert "asked for 5000, 440 available when a fold is left out" in (out / "report.html").read_text(encoding="utf-8")
    arguments = ["quantize", tmp_path / "net.onnx", "-o", tmp_path / "q.onnx", "-d", tmp_path / "data.npz", "--json"]
    few, enough = (_document(invoke(*arguments, "--samples", count)) for count in (5000, 100))
    said = [entry for entry in few["log"] if entry["pass"] == "calibration"]
    assert [entry["detail"] for entry in said if entry["subject"] == "samples"] == ["asked for 5000, 1100 available"]
    assert "samples" not in {entry["subject"] for entry in enough["log"]}


@pytest.mark.usefixtures("untimed")
def test_without_resume_everything_is_done_again(work: Path, copied: Path, invoke: Invoke) -> None:
    """Catches a plain run that takes over old products unasked."""
    assert invoke("run", work / "recipe.toml", "-o", copied).exit_code == 0
    assert "taken over" not in (copied / "run.log").read_text(encoding="utf-8")


@pytest.mark.usefixtures("untimed")
def test_progress_goes_to_stderr_and_quiet_silences_it(work: Path, invoke: Invoke, tmp_path: Path) -> None:
    """Catches progress among the results, and -q that is not quiet."""
    told, quiet = (invoke("run", work / "recipe.toml", "-o", tmp_path / "out", *q) for q in ([], ["-q"]))
    assert "calibrating: " in told.stderr
    assert "calibrating: " not in told.stdout
    assert quiet.stderr == ""
    assert quiet.stdout == told.stdout


@pytest.mark.usefixtures("untimed")
def test_verbose_tells_what_is_done(work: Path, invoke: Invoke, tmp_path: Path) -> None:
    """Catches -v that says no more than its absence, and a log level that outlives the command."""
    before = logging.getLogger("foldpress").level
    silent, told = (invoke("run", work / "recipe.toml", "-o", tmp_path / "out", "-q", *v) for v in ([], ["-v"]))
    assert silent.stderr == ""
    assert re.search(r"^press: \d", told.stderr, re.MULTILINE)
    assert told.stdout == silent.stdout
    assert logging.getLogger("foldpress").level == before


@pytest.mark.parametrize("as_json", [False, True])
def test_export_prune_and_quantize(as_json: bool, work: Path, invoke: Invoke, tmp_path: Path) -> None:
    """Catches a stage whose command differs from the contract, or whose file is not what it says."""
    net, data = work / "net.onnx", work / "data.npz"
    commands = {
        "export": ["export", net],
        "prune": ["prune", net, "--macs", 0.8],
        "sparse": ["prune", net, "--method", "unstructured", "--sparsity", 0.5],
        "quantize": ["quantize", net, "--target", "auto"],
    }
    for name, command in commands.items():
        output = tmp_path / "new" / f"{name}.onnx"
        result = invoke(*command, "-o", output, "--data", data, *(["--json"] if as_json else []))
        assert result.exit_code == 0, result.stderr
        assert output.is_file()
        if as_json:
            document = _document(result)
            assert document.keys() >= STAGE
            assert document["output"] == str(output)
            assert document["bytes"] == output.stat().st_size
        else:
            assert str(output) in result.stdout.replace("\n", "")


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
            document = _document(result, code)
            assert document.keys() >= {"verdict", "checks", "accuracy"}
            assert document["accuracy"]["test"].keys() >= TEST
            assert document["accuracy"]["test"]["n"] == 1100


def test_validate_does_not_say_what_it_does_not_know(work: Path, finished: Path, invoke: Invoke) -> None:
    """Catches a limit between what was measured and its bound that is taken as kept."""
    arguments = ["validate", work / "net.onnx", finished / "quantized.onnx", "-d", work / "data.npz", "--json"]
    measured = _document(invoke(*arguments, "--max-drop", 0.5))["accuracy"]["test"]
    between = (max(measured["drop"], 0) + measured["drop_upper"]) / 2
    assert _document(invoke(*arguments, "--max-drop", between), code=3)["verdict"] == "INCONCLUSIVE"


def test_validate_takes_a_graph_that_gives_labels(work: Path, classifier: Classifier, invoke: Invoke) -> None:
    """Catches labels [N, 1], as scikit-learn's exporter writes them, that are taken for the scores of one class."""
    proto = onnx.ModelProto()
    proto.CopyFrom(classifier.proto)
    proto.graph.node.append(onnx.helper.make_node("ArgMax", ["scores"], ["label"], axis=1, keepdims=1))
    proto.graph.output[0].CopyFrom(onnx.helper.make_tensor_value_info("label", onnx.TensorProto.INT64, ["N", 1]))
    onnx.save(proto, work / "labels.onnx")
    result = invoke(
        "validate", classifier.net, work / "labels.onnx", "-d", classifier.data, "--max-drop", 0.01, "--json"
    )
    test = _document(result)["accuracy"]["test"]
    assert test["baseline"] == test["artifact"] > 0.7


@pytest.mark.parametrize("as_json", [False, True])
def test_bench(as_json: bool, work: Path, finished: Path, invoke: Invoke) -> None:
    """Catches a latency list without the keys of the contract, or whose reference is not the first graph."""
    graphs = [work / "net.onnx", *([finished / "quantized.onnx"] if as_json else [])]
    options = ["--processes", 2, "--seconds", 0.1, *(["--json", "--data", work / "data.npz"] if as_json else [])]
    result = invoke("bench", *graphs, *options)
    assert result.exit_code == 0, result.stderr
    assert "net.onnx" in result.stdout
    if as_json:
        rows = _document(result)
        assert [row["graph"] for row in rows if row.keys() >= LATENCY] == ["net.onnx", "quantized.onnx"]
        assert rows[0]["speedup"] == 1.0
        assert rows[1]["speedup_low"] <= rows[1]["speedup"] <= rows[1]["speedup_high"]


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
        names = [check["name"] for check in _document(broken, code=1)["checks"] if check.keys() >= CHECK]
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
    before = _json_file(copied / "report.json")
    for name in ("report.json", "report.html", "report.md", "junit.xml"):
        (copied / name).unlink()
    result = invoke("report", copied, *(["--json"] if as_json else []))
    assert result.exit_code == 0, result.stderr
    assert _json_file(copied / "report.json") == before
    assert not [name for name in LEFT if not (copied / name).is_file()]
    assert invoke("gate", copied).exit_code == 0
    if as_json:
        assert _document(result) == before
    else:
        assert "PASS" in result.stdout


@pytest.mark.parametrize("as_json", [False, True])
def test_inspect(as_json: bool, work: Path, invoke: Invoke) -> None:
    """Catches counts that are off: they are known for two layers."""
    result = invoke("inspect", work / "net.onnx", *(["--json"] if as_json else []))
    assert result.exit_code == 0, result.stderr
    if as_json:
        document = _document(result)
        assert document.keys() >= INSPECTED
        assert document["macs"] == 64 * 32 + 32 * 10
        assert document["parameters"] == document["macs"] + 32 + 10
        assert document["operators"] == {"Gemm": 2, "Relu": 1}
        assert [layer["macs"] for layer in document["layers"]] == [64 * 32, 32 * 10]
    else:
        assert "2,410 parameters" in result.stdout


@pytest.mark.parametrize("as_json", [False, True])
def test_doctor(as_json: bool, invoke: Invoke) -> None:
    """Catches a doctor that does not name the provider that is always there, or the versions."""
    result = invoke("doctor", *(["--json"] if as_json else []))
    assert result.exit_code == 0, result.stderr
    assert "CPUExecutionProvider" in result.stdout
    if as_json:
        document = _document(result)
        assert document.keys() >= {"providers", "instruction_sets", "versions", "missing", "target"}
        assert "onnxruntime" in document["versions"]


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("template", ["digits", "tabular"])
def test_init_fills_a_new_folder_only(template: str, as_json: bool, invoke: Invoke, tmp_path: Path) -> None:
    """Catches a template without one of its three parts, and a start that overwrites somebody's files."""
    json_option = ["--json"] if as_json else []
    result = invoke("init", tmp_path / "new", "--from", template, *json_option)
    assert result.exit_code == 0, result.stderr
    for name in ("recipe.toml", "model.py", "data.py"):
        assert (tmp_path / "new" / name).is_file()
        assert name in result.stdout.replace("\n", "")
    if as_json:
        assert sorted(_document(result)["files"]) == sorted(str(path) for path in (tmp_path / "new").iterdir())
    before = {path.name: path.read_bytes() for path in (tmp_path / "new").iterdir()}
    again = invoke("init", tmp_path / "new", "--from", template)
    assert again.exit_code == 2
    assert "not empty" in again.stderr
    assert before == {path.name: path.read_bytes() for path in (tmp_path / "new").iterdir()}


def test_init_names_its_templates(invoke: Invoke, tmp_path: Path) -> None:
    """Catches a refusal that leaves one guessing."""
    result = invoke("init", tmp_path / "new", "--from", "digit")
    assert result.exit_code == 2
    assert "digits" in result.stderr
    assert not (tmp_path / "new").exists()


def test_an_error_is_json_too(invoke: Invoke, tmp_path: Path) -> None:
    """Catches a program that asked for JSON and gets nothing to parse."""
    result = invoke("run", tmp_path / "absent.toml", "--json")
    document = _document(result, code=2)
    assert document["exit_code"] == 2
    assert "absent.toml" in document["error"]
    assert "absent.toml" in result.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_help(command: str, invoke: Invoke) -> None:
    """Catches a command that the contract names and that is not there, or an option without which it is broken."""
    result = invoke(command, "--help")
    assert result.exit_code == 0
    for option in ("--json", "--quiet", "--verbose"):
        assert option in result.stdout


def test_the_whole_help_names_every_command(invoke: Invoke) -> None:
    """Catches a command that nobody can find."""
    result = invoke("--help")
    assert not [command for command in COMMANDS if command not in result.stdout]
    assert re.fullmatch(r"\d+\.\d+\.\d+\n", invoke("--version").stdout)


@pytest.mark.parametrize(
    "arguments",
    [["rum"], ["run"], ["run", "a", "b"], ["gate", "x", "--max-drop", "little"], ["gate", "x", "--no-such-option"]],
)
def test_wrong_usage_exits_with_2(arguments: list[str], invoke: Invoke) -> None:
    """Catches usage errors that look like a FAIL (1) to a build pipeline."""
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "Traceback" not in result.stderr


def test_help_answers_at_once() -> None:
    """Catches a heavy import at the top of a module: --help and --version would take seconds."""
    script = (
        "import sys; from foldpress.cli import app; app(['--help'], standalone_mode=False); "
        "print({'torch', 'onnx', 'onnx_ir', 'onnxruntime', 'sklearn', 'scipy', 'matplotlib'} & set(sys.modules))"
    )
    done = _process("-c", script)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "set()"


def _document(result: Any, code: int = 0) -> Any:
    """The one JSON document on stdout."""
    assert result.exit_code == code, result.stderr
    return json.loads(result.stdout)


def _json_file(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8")))


def _process(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=False, timeout=60, env={**os.environ}
    )


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


def test_options_that_do_not_go_together(classifier: Classifier, invoke: Invoke, tmp_path: Path) -> None:
    """Catches an option without effect that nobody is told of."""
    for wrong in (["--bits", "4"], ["--precision", "weights"], ["--precision", "float16", "--calibration", "mse"]):
        done = invoke("quantize", classifier.net, "-o", tmp_path / "x.onnx", "--data", classifier.data, *wrong)
        assert done.exit_code == 2
        assert not (tmp_path / "x.onnx").exists()


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
