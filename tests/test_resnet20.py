"""ResNet-20 on CIFAR-10: real weights, real images, published accuracy. Lies beside the project, not in it."""

import json
import shutil
from pathlib import Path

import pytest

import foldpress

SHARED = Path(__file__).parents[2] / "shared" / "data"
WEIGHTS = SHARED / "cifar10" / "resnet20-12fca82f.th"
FOLDER = Path(__file__).parent / "data" / "resnet20"
MEASURED = 0.9172  # float32, on all 5,000 images (published on 10,000: 0.9173)

pytestmark = pytest.mark.skipif(not WEIGHTS.is_file(), reason=f"the trained weights and images are not in {SHARED}")


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> foldpress.Report:
    folder = tmp_path_factory.mktemp("resnet20")
    shutil.copytree(FOLDER, folder, dirs_exist_ok=True)
    overrides = [f"model.weights={WEIGHTS}", "benchmark.processes=1", "benchmark.seconds=0.5"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FOLDPRESS_SHARED", str(SHARED))
        return foldpress.run(foldpress.load_recipe(folder, overrides), folder / "out")


def test_the_float_graph_is_as_accurate_as_published(report: foldpress.Report) -> None:
    """Catches: a wrong network, wrong weights, or an export that is wrong on real images."""
    test, folds = (report.document["accuracy"][part] for part in ("test", "folds"))
    right = test["n"] * test["baseline"] + folds["n"] * folds["baseline"]
    assert right / (test["n"] + folds["n"]) == pytest.approx(MEASURED, abs=2e-4)


def test_int8_loses_at_most_three_tenths_of_a_point(report: foldpress.Report) -> None:
    """Catches: wrong types, ranges, or per-channel axes. Every image is scored by a graph that has not seen it."""
    test, folds = (report.document["accuracy"][part] for part in ("test", "folds"))
    lost = (test["n"] * test["drop"] + folds["n"] * folds["drop"]) / (test["n"] + folds["n"])
    assert lost <= 0.003
    assert folds["flips"] <= 0.02


def test_the_graph_follows_pytorch(report: foldpress.Report) -> None:
    """Catches: a deviation that rounding does not explain."""
    parity = json.loads((report.folder / "evidence/facts.json").read_text())["parity"]
    assert parity["differing"] == []
    assert parity["outputs"][0]["largest"] < parity["outputs"][0]["tolerance"] < 0.01
