"""The main job on trained models with labelled data."""

import json
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import foldpress
from conftest import WriteRecipe
from contract import CHECK, FOLD, FOLDS, GRAPH, LATENCY, REPORT, TEST
from foldpress.benchmark.evidence import load_evidence
from foldpress.data import Dataset
from foldpress.exporter.export import Exported, export_model
from foldpress.files import sha256

pytest_plugins = ["trained"]
MODELS = Path(__file__).parents[1] / "models"
TIMED_BRIEFLY = ["benchmark.processes=3", "benchmark.seconds=0.3"]
BRIEF = [
    *TIMED_BRIEFLY,
    "quantize.precision=static",
    "quantize.samples=256",
    "folds.splits=3",
]  # the README's commands run all of it as it stands


@pytest.fixture(scope="session")
def shown_to_the_exporter() -> list[int]:
    """Rows of the data that `finished` exported with."""
    return []


@pytest.fixture(scope="session")
def finished(
    digits_folder: Path, shown_to_the_exporter: list[int], tmp_path_factory: pytest.TempPathFactory
) -> foldpress.Report:
    """models/digits, pressed, timed briefly and judged."""

    def watched(model: torch.nn.Module, dataset: Dataset) -> Exported:
        shown_to_the_exporter.extend(map(int, dataset.rows))
        return export_model(model, dataset)

    recipe = foldpress.load_recipe(digits_folder / "recipe.toml", BRIEF)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("foldpress.exporter.export.export_model", watched)
        return foldpress.run(recipe, tmp_path_factory.mktemp("run"))


def test_the_demo_passes_and_every_check_says_why(finished: foldpress.Report) -> None:
    """Catches: a main job that does not do its job."""
    checks = {check["name"]: check for check in finished.document["checks"]}
    assert {"max_drop", "max_drop_folds", "max_flips", "max_bytes"} <= checks.keys()
    for name in ("max_drop", "max_drop_folds", "max_flips", "max_bytes"):
        assert checks[name]["verdict"] == "PASS", checks[name]
    assert all(check["why"] for check in checks.values())


def test_report_has_every_key_of_the_contract(finished: foldpress.Report) -> None:
    """Catches: a key that others rely on renamed or dropped."""
    report = json.loads((finished.folder / "report.json").read_text())
    assert report == finished.document
    assert report.keys() >= REPORT
    assert report["checks"][0].keys() == CHECK
    test, folds = report["accuracy"]["test"], report["accuracy"]["folds"]
    assert test.keys() >= TEST
    assert folds.keys() >= FOLDS
    assert folds["each"][0].keys() >= FOLD
    assert report["graphs"]["exported.onnx"].keys() >= GRAPH
    assert report["latency"][0].keys() >= LATENCY
    assert {"aa_ratio", "aa_low", "aa_high", "warm_up_runs"} <= report["latency"][0].keys()
    assert report["agreement"]["n"] == min(folds["n"], 600)
    assert all(one["changed"] is not None for one in report["agreement"]["settings"])
    assert sum(entry["n"] for entry in folds["each"]) == folds["n"]
    assert test["n"] + folds["n"] == 1079


def test_smaller_at_each_stage(finished: foldpress.Report) -> None:
    """Catches: pruning that leaves the size, int8 that leaves floats."""
    graphs = finished.document["graphs"]
    exported, pruned, quantized = (graphs[f"{name}.onnx"] for name in ("exported", "pruned", "quantized"))
    assert pruned["macs"] <= 0.8 * exported["macs"]
    assert quantized["macs"] == pruned["macs"]
    assert quantized["bytes"] < 0.35 * pruned["bytes"] < pruned["bytes"] < exported["bytes"]


def test_the_manifest_lists_every_file_and_nothing_half_written_is_left(finished: foldpress.Report) -> None:
    """Catches: a manifest written before the last file, or temporary files left behind."""
    manifest = json.loads((finished.folder / "manifest.json").read_text())
    present = {path.relative_to(finished.folder).as_posix() for path in finished.folder.rglob("*") if path.is_file()}
    assert present - manifest["files"].keys() == {"manifest.json", "run.log", "journal.json"}
    for name, entry in manifest["files"].items():
        assert sha256(finished.folder / name) == entry["sha256"]
    newest = max(present - {"run.log"}, key=lambda name: (finished.folder / name).stat().st_mtime_ns)
    assert newest == "manifest.json"
    assert {"model", "data", "train"} <= manifest["digests"].keys()


def test_every_development_sample_is_scored_once_by_a_graph_without_its_fold(finished: foldpress.Report) -> None:
    """Catches: samples scored twice or never; the test split among the folds."""
    evidence = finished.folder / "evidence"
    with np.load(evidence / "folds.npz") as folds, np.load(evidence / "test.npz") as test:
        assert len(np.unique(folds["sample"])) == len(folds["sample"])
        assert not set(folds["sample"]) & set(test["sample"])
        assert set(folds["fold"]) == set(range(3))
        assert set(test["fold"]) == {-1}


def test_reports_agree(finished: foldpress.Report) -> None:
    """Catches: a page, a summary or a JUnit file that tells another story than report.json."""
    assert finished.verdict in (finished.folder / "report.md").read_text()
    assert finished.verdict in (finished.folder / "report.html").read_text()
    suite = ElementTree.parse(finished.folder / "junit.xml").getroot()
    cases = list(suite.iter("testcase"))
    red = sum(case.find("failure") is not None or case.find("error") is not None for case in cases)
    assert red == sum(check["verdict"] != "PASS" for check in finished.document["checks"])


def test_two_runs_give_the_same_bytes(finished: foldpress.Report, digits_folder: Path, tmp_path: Path) -> None:
    """Catches: anything in a graph that depends on time, order, path or chance. A second process, another hash seed."""
    command = [sys.executable, "-m", "foldpress", "run", str(digits_folder), "-o", str(tmp_path), "-q"]
    command += [part for one in BRIEF for part in ("--set", one)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1, 3), done.stderr
    for name in ("exported.onnx", "pruned.onnx", "quantized.onnx"):
        assert (tmp_path / name).read_bytes() == (finished.folder / name).read_bytes(), name


def test_the_exporters_comparison_is_in_the_evidence(finished: foldpress.Report) -> None:
    """Catches: parity that was computed and thrown away."""
    facts: dict[str, Any] = json.loads((finished.folder / "evidence/facts.json").read_text())
    assert facts["parity"]["batches"] == [1, 7]
    assert {entry["pass"] for entry in facts["log"]} >= {"prune-structured", "static-int8"}


@pytest.mark.parametrize("name", ["tabular", "regression", "sequence"])
def test_the_other_reference_models_pass_their_own_limits(name: str, tmp_path: Path) -> None:
    """Catches: a job that only fits the demo: an MLP, a regression, a transformer encoder."""
    folder = tmp_path / name
    shutil.copytree(MODELS / name, folder, ignore=shutil.ignore_patterns("weights*", "__pycache__"))
    few = "import train; train.EPOCHS = 10; train.main()"  # enough for networks that are worth pressing
    subprocess.run([sys.executable, "-c", few], cwd=folder, check=True, capture_output=True)
    report = foldpress.run(foldpress.load_recipe(folder, TIMED_BRIEFLY), tmp_path / "out")
    assert report.verdict == "PASS", report.document["checks"]


def test_all_of_it_in_one_recipe(digits_folder: Path, tmp_path: Path) -> None:
    """Catches: a stage that undoes what the ones before it have made small."""
    short = [
        "finetune.epochs=2",
        "share.epochs=1",
        "folds.splits=2",
        *TIMED_BRIEFLY,
        "gate.max_drop=0.9",
        "gate.max_flips=0.9",
    ]
    report = foldpress.run(foldpress.load_recipe(digits_folder / "all.toml", short), tmp_path / "out")
    assert report.verdict == "PASS", report.document["checks"]
    whole, small = (tmp_path / "out" / name for name in ("exported.onnx", "quantized.onnx"))
    assert foldpress.pack(small).bytes < whole.stat().st_size / 12  # a fifth of the weights, of 16 values


def test_repeated_folds(recipe: WriteRecipe, tmp_path: Path) -> None:
    """Catches: repeats that count as more samples."""
    report = foldpress.run(recipe(folds={"repeats": 2}), tmp_path / "out")
    folds = report.document["accuracy"]["folds"]
    assert len(folds["each"]) == 6
    assert sum(entry["n"] for entry in folds["each"]) == 2 * folds["n"]


def test_flipped_samples_are_kept_as_pictures(digits_folder: Path, digits_data: Dataset, tmp_path: Path) -> None:
    """Catches: pictures of other samples than those that flipped, or none of them in the page."""
    coarse = ["quantize.precision=weights", "quantize.bits=1"]
    recipe = foldpress.load_recipe(digits_folder, [*BRIEF, *coarse]).model_copy(update={"prune": None})
    report = foldpress.run(recipe, tmp_path)
    evidence = load_evidence(report.folder / "evidence")
    assert evidence.test is not None
    assert evidence.pictures is not None
    flips = evidence.test.sample[evidence.test.baseline != evidence.test.artifact]
    assert len(evidence.pictures.sample) == min(24, len(flips)) > 0
    for sample, pixels in zip(evidence.pictures.sample, evidence.pictures.pixels, strict=True):
        assert sample in flips
        image = next(iter(digits_data.inputs.values()))[sample, 0]
        assert np.array_equal(pixels, np.rint(255 * (image - image.min()) / np.ptp(image)))
    page = (report.folder / "report.html").read_text()
    assert page.count('src="data:image/png') == len(evidence.pictures.sample)


def test_parity_does_not_look_at_the_test_split(finished: foldpress.Report, shown_to_the_exporter: list[int]) -> None:
    """Catches: a stage that reads samples which only the last step may see."""
    evidence = finished.folder / "evidence"
    with np.load(evidence / "test.npz") as test, np.load(evidence / "folds.npz") as folds:
        assert not set(shown_to_the_exporter) & set(test["sample"])
        assert set(shown_to_the_exporter) == set(folds["sample"])
