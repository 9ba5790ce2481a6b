"""One finished run of the tiny classifier, which also prunes, for every command that looks at a run."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import Classifier

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


@pytest.fixture(scope="session")
def work(classifier: Classifier, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of these tests' own, with the classifier, its data and a recipe that also prunes."""
    folder = tmp_path_factory.mktemp("cli") / "work"
    shutil.copytree(classifier.folder, folder)
    (folder / "recipe.toml").write_text(
        '[model]\nsource = "net.onnx"\n[data]\nsource = "data.npz"\ntrain = "train.npz"\n'
        '[folds]\nsplits = 3\ntest = 0.4\n[prune]\nmacs = 0.8\n[quantize]\ntarget = "x86"\nsamples = 64\n'
        "[benchmark]\nprocesses = 1\nseconds = 0.1\n[gate]\nmax_drop = 0.05\n",
        encoding="utf-8",
    )
    return folder


@pytest.fixture(scope="session")
def finished(work: Path) -> Path:
    """A run of that recipe, in a process where torch cannot be imported. Tests that change it take a copy."""
    command = [sys.executable, "-c", WITHOUT_TORCH, "run", str(work / "recipe.toml"), "-o", str(work / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout
    assert "timing at batch 1" in done.stderr
    return work / "out"


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished run."""
    return Path(shutil.copytree(finished, tmp_path / "out"))
