"""`run --resume`, and a run without it: what is taken over, and what is done again."""

import json
import re
from pathlib import Path

import pytest

from conftest import Invoke, WriteRecipe
from contract import STAGES, json_file


def test_resume_takes_over_what_is_finished_and_judges_anew(
    work: Path, copied: Path, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches --resume that runs a finished stage again, or keeps the old verdict although the limits changed."""
    monkeypatch.setattr("foldpress.pipeline.measure", lambda *_: pytest.fail("timed again"))
    result = invoke("run", work / "recipe.toml", "-o", copied, "--resume", "--set", "gate.max_bytes=10")
    assert result.exit_code == 1, result.stderr
    assert json_file(copied / "report.json")["verdict"] == "FAIL"
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
    journal = json_file(out / "journal.json")
    journal["stages"] = {name: journal["stages"][name] for name in ("export", "statistics")}
    (out / "journal.json").write_text(json.dumps(journal), encoding="utf-8")
    monkeypatch.setattr("foldpress.optimizer.collection.accumulate", lambda *_: pytest.fail("collected"))
    assert invoke("run", path, "-o", out, "--resume").exit_code == 0
    assert "statistics.npz: reused" in (out / "run.log").read_text(encoding="utf-8")
    assert (out / "quantized.onnx").read_bytes() == graph


@pytest.mark.usefixtures("untimed")
def test_without_resume_everything_is_done_again(recipe: WriteRecipe, invoke: Invoke, tmp_path: Path) -> None:
    """Catches a plain run that takes over old products or statistics unasked, and a file that no longer belongs there."""
    out = tmp_path / "out"
    for _ in range(2):
        assert invoke("run", recipe(quantize={"precision": "static"}), "-o", out).exit_code == 0
        log = (out / "run.log").read_text(encoding="utf-8")
        assert "taken over" not in log
        assert "statistics.npz: reused" not in log
    assert invoke("run", recipe(quantize={"precision": "dynamic"}), "-o", out).exit_code == 0
    assert not (out / "statistics.npz").exists()
