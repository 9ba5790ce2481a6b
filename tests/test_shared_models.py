"""Networks that foldpress was not made for, with the weights and data of others: depthwise, attention, recurrent."""

import shutil
from pathlib import Path

import pytest

import foldpress

SHARED = Path(__file__).parents[2] / "shared" / "data"

pytestmark = pytest.mark.skipif(not SHARED.is_dir(), reason=f"the trained weights and data are not in {SHARED}")


@pytest.mark.parametrize(
    ("name", "weights", "float32", "largest_drop"),
    [
        ("ds_cnn", "kws/ds_cnn.safetensors", 0.915, 0.01),
        ("lstm", "spoken_digits/best_modelFP.pth", 0.888, 0.005),
        ("vit", "cifar10/vit.pth", 0.737, 0.01),
    ],
)
def test_the_whole_job(
    name: str, weights: str, float32: float, largest_drop: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches: an export that is wrong on real data, and int8 that breaks what is no plain convolution."""
    monkeypatch.setenv("FOLDPRESS_SHARED", str(SHARED))
    shutil.copytree(Path(__file__).parent / "data" / name, tmp_path / name)
    overrides = [f"model.weights={SHARED / weights}", "benchmark.processes=1", "benchmark.seconds=0.3"]
    report = foldpress.run(foldpress.load_recipe(tmp_path / name, overrides), tmp_path / "out").document
    test, folds = report["accuracy"]["test"], report["accuracy"]["folds"]
    total = test["n"] + folds["n"]
    assert (test["n"] * test["baseline"] + folds["n"] * folds["baseline"]) / total == pytest.approx(float32, abs=0.012)
    assert (test["n"] * test["drop"] + folds["n"] * folds["drop"]) / total <= largest_drop
    assert report["graphs"]["exported.onnx"]["macs"] > 0
