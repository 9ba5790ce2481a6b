"""`run`: what it leaves, prints and says, and its exit codes."""

import logging
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from conftest import Invoke, WriteRecipe
from contract import CHECK, FOLD, FOLDS, GRAPH, GRAPHS, LATENCY, LEFT, REPORT, TEST, document_of, json_file
from foldpress.cli import app


def test_a_run_on_an_onnx_file_needs_no_torch_and_leaves_all_that_is_promised(finished: Path) -> None:
    """Catches a torch import on the way of who has none, and a promised file that is not there."""
    assert not [name for name in LEFT if not (finished / name).is_file()]
    assert json_file(finished / "manifest.json")["files"].keys() >= set(LEFT) - {"run.log", "manifest.json"}


def test_report_json_has_every_key_of_the_contract(finished: Path) -> None:
    """Catches a key that was dropped or renamed: build pipelines read them."""
    report = json_file(finished / "report.json")
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
    report = json_file(finished / "report.json")
    blocks = [report["accuracy"]["test"], report["accuracy"]["folds"], *report["graphs"].values(), *report["latency"]]
    assert not [
        name for block in blocks for name, value in block.items() if value is None and f"{name}_why" not in block
    ]


@pytest.fixture(scope="module")
def again(work: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """The same recipe once more, in this process and untimed: what it left, and what it printed."""
    folder = tmp_path_factory.mktemp("again")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("foldpress.pipeline.measure", lambda *_: [])
        return folder, CliRunner().invoke(app, ["run", str(work / "recipe.toml"), "-o", str(folder), "--json"])


def test_run_prints_its_report(again: tuple[Path, Result]) -> None:
    """Catches a document on stdout that is not the report, or is not alone there."""
    folder, result = again
    assert document_of(result) == json_file(folder / "report.json")


def test_two_runs_give_the_same_bytes(finished: Path, again: tuple[Path, Result]) -> None:
    """Catches a seed that is not fixed, a time or a path in the graph: a release could not be reproduced."""
    folder, _ = again
    assert [(folder / name).read_bytes() for name in GRAPHS] == [(finished / name).read_bytes() for name in GRAPHS]


@pytest.mark.usefixtures("untimed")
def test_a_broken_limit_exits_with_1(recipe: WriteRecipe, invoke: Invoke, tmp_path: Path) -> None:
    """Catches a FAIL that lets a release through."""
    result = invoke("run", recipe(), "-o", tmp_path / "out", "--set", "gate.max_bytes=10 B")
    assert result.exit_code == 1
    assert "FAIL" in result.stdout
    assert (tmp_path / "out/manifest.json").is_file()


@pytest.mark.usefixtures("untimed")
def test_set_overrides_the_recipe(recipe: WriteRecipe, invoke: Invoke, tmp_path: Path) -> None:
    """Catches --set that is not applied, takes only numbers, or cannot make a new table."""
    result = invoke("run", recipe(), "-o", tmp_path / "out", "--json", "--set", "gate.max_bytes=1 MB",
                    "--set", "gate.max_drop=0.5", "--set", "prune.macs=0.5", "--set", "folds.splits=4")  # fmt: skip
    report = document_of(result)
    limits = {check["name"]: check["limit"] for check in report["checks"]}
    assert limits == {"max_drop": 0.5, "max_drop_folds": 0.5, "max_bytes": 1_000_000}
    assert len(report["accuracy"]["folds"]["each"]) == 4
    assert "pruned.onnx" in report["graphs"]


@pytest.mark.usefixtures("untimed")
def test_progress_goes_to_stderr_and_quiet_silences_it(recipe: WriteRecipe, invoke: Invoke, tmp_path: Path) -> None:
    """Catches progress among the results, and -q that is not quiet."""
    told, quiet = (invoke("run", recipe(), "-o", tmp_path / "out", *q) for q in ([], ["-q"]))
    assert "calibrating: " in told.stderr
    assert "calibrating: " not in told.stdout
    assert quiet.stderr == ""
    assert quiet.stdout == told.stdout


@pytest.mark.usefixtures("untimed")
def test_verbose_tells_what_is_done(recipe: WriteRecipe, invoke: Invoke, tmp_path: Path) -> None:
    """Catches -v that says no more than its absence, and a log level that outlives the command."""
    before = logging.getLogger("foldpress").level
    silent, told = (invoke("run", recipe(), "-o", tmp_path / "out", "-q", *v) for v in ([], ["-v"]))
    assert silent.stderr == ""
    assert re.search(r"^press: \d", told.stderr, re.MULTILINE)
    assert told.stdout == silent.stdout
    assert logging.getLogger("foldpress").level == before
