"""Against the last release: what has grown, slowed down or lost accuracy since, and what does not compare."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import Invoke
from finished import Run
from foldpress.benchmark.intervals import tango_upper

ALL = ("--max-drop-since", "0.05", "--max-growth", "0.05", "--max-slowdown", "9")
WORKFLOW = Path(__file__).parents[1] / "docs/github-workflow.yml"


@pytest.fixture
def last(run: Run) -> Path:
    """The last release: an undamaged copy."""
    shutil.copytree(run.out, run.folder / "last")
    return run.folder / "last"


def judged(invoke: Invoke, run: Run, last: Path, *options: object) -> tuple[int, dict[str, dict[str, Any]]]:
    """Exit code and checks by name."""
    result = invoke("gate", run.out, "--baseline", last, *(options or ALL), "--json", "-q")
    assert result.exit_code in (0, 1, 3), result.output
    return result.exit_code, {check["name"]: check for check in json.loads(result.stdout)["checks"]}


def lose(rows: int) -> Callable[[Any], Any]:
    """Some more samples wrong that were right."""

    def change(old: Any) -> Any:
        new = old.copy()
        new[np.flatnonzero(old == 1)[:rows]] = 0
        return new

    return change


@pytest.mark.parametrize("name", ["", "report.json"])
def test_the_same_again_passes(name: str, run: Run, last: Path, invoke: Invoke) -> None:
    """Catches a comparison that refuses what has not changed, or leaves a check out."""
    code, checks = judged(invoke, run, last / name)
    assert code == 0, checks
    assert {"max_drop", "max_drop_folds", "max_drop_since", "max_growth", "max_slowdown"} <= checks.keys()
    assert (checks["max_drop_since"]["value"], checks["max_growth"]["value"]) == (0, 0)
    assert checks["max_drop_since"]["bound"] == pytest.approx(tango_upper(0, 0, checks["max_drop_since"]["n"]))
    assert checks["max_slowdown"]["bound"] >= 0


def test_a_drop_since_then_is_paired(run: Run, last: Path, invoke: Invoke) -> None:
    """Catches two accuracies subtracted as if other samples had been asked, and a drop against float32 taken for it."""
    run.table("test", artifact_score=lose(30))
    run.sealed()
    code, checks = judged(invoke, run, last, "--max-drop-since", "0.05")
    n = checks["max_drop_since"]["n"]
    assert (code, checks["max_drop_since"]["verdict"]) == (1, "FAIL")
    assert checks["max_drop_since"]["value"] == pytest.approx(30 / n)
    assert checks["max_drop_since"]["bound"] == pytest.approx(tango_upper(30, 0, n))
    _, checks = judged(invoke, run, last, "--max-drop-since", "0.075")
    assert checks["max_drop_since"]["verdict"] == "INCONCLUSIVE"


def test_growth_and_slow_down(run: Run, last: Path, invoke: Invoke) -> None:
    """Catches a ratio the wrong way round, and a slow-down judged on the measured ratio alone."""

    def smaller_and_faster(report: dict[str, Any]) -> None:
        report["graphs"]["quantized.onnx"]["bytes"] //= 2
        for row in report["latency"]:
            if row["graph"] == "quantized.onnx":
                row["speedup"], row["speedup_high"] = 3 * row["speedup"], 4 * row["speedup_high"]

    path = last / "report.json"
    report = json.loads(path.read_text())
    smaller_and_faster(report)
    (last / "manifest.json").unlink()  # a report on its own
    path.write_text(json.dumps(report))
    code, checks = judged(invoke, run, last)
    assert code == 1
    assert checks["max_growth"]["value"] == pytest.approx(1, abs=1e-3)
    assert checks["max_slowdown"]["value"] == pytest.approx(2)
    assert checks["max_slowdown"]["bound"] > 2
    assert checks["max_drop_since"]["verdict"] == "INCONCLUSIVE"
    assert "keep the whole folder" in checks["max_drop_since"]["why"]


@pytest.mark.parametrize(
    ("change", "name", "said"),
    [(lambda r: r["environment"].update(processor="an abacus"), "max_slowdown", "abacus"),
     (lambda r: r["graphs"]["exported.onnx"].update(sha256="0"), "max_slowdown", "float graph"),
     (lambda r: r.update(latency=[]), "max_slowdown", "same settings"),
     (lambda r: r["graphs"].pop("quantized.onnx"), "max_growth", "not measured")],
)  # fmt: skip
def test_what_does_not_compare_is_inconclusive(
    change: Callable[[dict[str, Any]], Any], name: str, said: str, run: Run, last: Path, invoke: Invoke
) -> None:
    """Catches figures of two machines, or of two networks, set against each other."""
    report = json.loads((last / "report.json").read_text())
    change(report)
    (last / "manifest.json").unlink()
    (last / "report.json").write_text(json.dumps(report))
    code, checks = judged(invoke, run, last, f"--{name.replace('_', '-')}", "9")
    assert (code, checks[name]["verdict"]) == (3, "INCONCLUSIVE")
    assert said in checks[name]["why"]


@pytest.mark.parametrize(
    ("change", "options", "said"),
    [(lambda r: r["digests"].update(data="0"), ALL, "another data set"), (lambda r: r.update(schema=9), ALL, "another schema"),
     (lambda r: r.update(task="regression"), ALL, "another task"), (lambda r: r.pop("graphs"), ALL, "no report of a run"),
     (lambda r: None, (), "no limit is set"), (lambda r: None, ("--max-growth", "-1"), "zero or more"),
     (lambda r: None, ("--max-growth", "nan"), "zero or more")],
)  # fmt: skip
def test_what_is_no_comparison_is_refused(
    change: Callable[[dict[str, Any]], Any], options: tuple[str, ...], said: str, run: Run, last: Path, invoke: Invoke
) -> None:
    """Catches a release on other data that is compared all the same, and a baseline that nothing is asked of."""
    report = json.loads((last / "report.json").read_text())
    change(report)
    (last / "manifest.json").unlink()
    (last / "report.json").write_text(json.dumps(report))
    result = invoke("gate", run.out, "--baseline", last, *options)
    assert result.exit_code == 2
    assert said in result.stderr


def test_a_release_that_was_changed_or_is_not_there(run: Run, last: Path, invoke: Invoke) -> None:
    """Catches a forged release, an absent one, and a limit since no release at all."""
    (last / "evidence/test.npz").write_bytes(b"")
    assert invoke("gate", run.out, "--baseline", last, *ALL).exit_code == 2
    assert invoke("gate", run.out, "--baseline", run.folder / "none", *ALL).exit_code == 2
    assert invoke("gate", run.out, *ALL).exit_code == 2


def test_the_page_of_a_build_shows_the_verdict(
    run: Run, last: Path, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a summary that is overwritten, missing for one command, or written where none was asked for."""
    page = run.folder / "summary.md"
    page.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(page))
    assert invoke(*run.gate("--baseline", last, *ALL)).exit_code == 0
    data = ("-d", run.folder / "data.npz", "--max-drop", "0.05")
    assert invoke("validate", run.folder / "net.onnx", run.folder / "net.onnx", *data).exit_code == 0
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.count("foldpress: PASS") == 2
    assert "max\\_growth" in text
    (run.out / "manifest.json").unlink()
    assert invoke(*run.gate()).exit_code == 3
    assert "foldpress: INCONCLUSIVE" in page.read_text()
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(run.folder / "absent/summary.md"))
    assert invoke(*run.gate()).exit_code == 2


def test_the_workflow_uses_what_there_is(invoke: Invoke) -> None:
    """Catches a ready-made workflow with a command or an option that has been renamed."""
    text = WORKFLOW.read_text().replace("\\\n", " ")
    commands = re.findall(r"^ *foldpress (\w+) (.*)$", text, re.MULTILINE)
    assert {name for name, _ in commands} == {"run", "gate"}
    for name, rest in commands:
        shown = invoke(name, "--help").stdout
        for option in re.findall(r"--[a-z-]+", rest):
            assert option in shown
