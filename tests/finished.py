"""A finished run that passed, and what can be done to a copy of it. The fixtures `passed` and `run` are in conftest.py."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from foldpress.benchmark.evidence import Paired
from foldpress.cli import app
from foldpress.rundir import read_manifest, write_manifest

RECIPE = """
[model]
source = "net.onnx"
[data]
source = "data.npz"
[folds]
splits = 3
test = 0.4
[quantize]
target = "x86"
precision = "static"
samples = 64
[benchmark]
processes = 2
seconds = 0.5
[gate]
max_drop = 0.05
max_flips = 0.2
min_speedup = 0.001
max_bytes = 100000
"""
_ATTEMPTS = 3  # on a busy machine the A/A test may fail, and then no speed is vouched for

METRICS = """
import numpy as np

def raising(targets, outputs):
    raise ValueError("no such metric")

def giving_nan(targets, outputs):
    return np.full(len(targets), np.nan)

def giving_one_number(targets, outputs):
    return 1.0

def interrupted(targets, outputs):
    raise KeyboardInterrupt
"""


@dataclass
class Run:
    """A folder with a recipe and, in `out`, a finished run that passed. Rows damage it."""

    folder: Path
    write_recipe: Callable[..., Path]
    arrays: dict[str, Any]
    monkeypatch: pytest.MonkeyPatch

    @property
    def out(self) -> Path:
        """What the run left."""
        return self.folder / "out"

    def gate(self, *options: object) -> list[object]:
        """The command that judges it again."""
        return ["gate", self.out, *options]

    def again(self, *overrides: str, **tables: dict[str, Any]) -> list[object]:
        """The command that runs the recipe again."""
        sets = [part for one in overrides for part in ("--set", one)]
        return ["run", self.write_recipe(**tables), "-o", self.out, *sets]

    def table(self, name: str, **columns: Any) -> None:
        """Replace columns of a saved table; each is a function of the old."""
        path = self.out / f"evidence/{name}.npz"
        with np.load(path) as archive:
            arrays = {column.name: archive[column.name] for column in fields(Paired)}
        np.savez(path, **arrays | {key: change(arrays[key]) for key, change in columns.items()})

    def facts(self, change: Callable[[dict[str, Any]], object]) -> None:
        """Change evidence/facts.json."""
        self.json("evidence/facts.json", change)

    def json(self, name: str, change: Callable[[Any], object]) -> None:
        """Change a JSON file."""
        document = json.loads((self.out / name).read_text())
        change(document)
        (self.out / name).write_text(json.dumps(document))

    def sealed(self, *options: object) -> list[object]:
        """The command that judges it again, after the manifest was written anew: no digest tells."""
        manifest = read_manifest(self.out)
        assert manifest is not None
        write_manifest(self.out, {key: value for key, value in manifest.items() if key != "files"})
        return self.gate(*options)

    def metric(self, name: str) -> list[object]:
        """The command that runs the recipe with the user's own metric."""
        (self.folder / "metrics.py").write_text(METRICS)
        return self.again(data={"task": f"metrics:{name}"})

    def data(self, **arrays: Any) -> list[object]:
        """The command that runs the recipe on other data."""
        np.savez(self.folder / "other.npz", **self.arrays | arrays)
        return self.again("data.source=other.npz")

    def timing(self, end: Callable[..., Any]) -> list[object]:
        """The command that runs the recipe, where every timing process ends like this."""
        self.monkeypatch.setattr("subprocess.run", end)
        return self.again()


def finish(classifier: Path, folder: Path) -> Path:
    """Run the tiny classifier to a PASS of every limit, in a folder of its own."""
    for file in classifier.iterdir():
        shutil.copy(file, folder)
    (folder / "recipe.toml").write_text(RECIPE)
    for _ in range(_ATTEMPTS):
        result = CliRunner().invoke(app, ["run", str(folder / "recipe.toml"), "-o", str(folder / "out"), "-q"])
        if result.exit_code == 0:
            break
    assert result.exit_code == 0, result.output
    return folder
