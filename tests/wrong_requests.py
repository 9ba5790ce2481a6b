"""Wrong requests, made from the tiny classifier, and what every one of them has to meet with."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from typer.testing import Result

NAN = float("nan")
NETWORK = """
import torch

class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first = torch.nn.Linear(64, 8)
        self.last = torch.nn.Linear(8, 10)

    def forward(self, x):
        return self.last(torch.relu(self.first(x)))

class Refusing(Network):
    def forward(self, x):
        return self.last(x)  # eight wanted, 64 given

def build():
    return Network()

def build_refusing():
    return Refusing()

def build_text():
    return "network"

def build_raising():
    raise KeyError("no such setting")
"""


@dataclass
class Here:
    """Where one row of the table is prepared: a folder with the tiny classifier, its data and a recipe."""

    folder: Path
    write_recipe: Callable[..., Path]
    arrays: dict[str, Any]

    @property
    def net(self) -> Path:
        """The tiny classifier."""
        return self.folder / "net.onnx"

    @property
    def data(self) -> Path:
        """Its held-out samples."""
        return self.folder / "data.npz"

    def run(self, **tables: dict[str, Any] | None) -> list[object]:
        """The command that runs a recipe with these settings."""
        return ["run", self.write_recipe(**tables), "-o", self.folder / "out"]

    def run_on(self, **arrays: Any) -> list[object]:
        """The command that runs the recipe on data with some arrays replaced, or left out (None)."""
        return [*self.run(), "--set", f"data.source={self.save(**arrays).name}"]

    def save(self, **arrays: Any) -> Path:
        """A data file with some arrays replaced, or left out (None)."""
        path = self.folder / "wrong.npz"
        np.savez(path, **{name: array for name, array in (self.arrays | arrays).items() if array is not None})
        return path

    def network(self, source: str, **model: Any) -> list[object]:
        """The command that runs a recipe around a PyTorch network."""
        (self.folder / "network.py").write_text(NETWORK, encoding="utf-8")
        return self.run(model={"source": f"network:{source}", **model})

    def weights(self, change: Callable[[dict[str, Any]], None]) -> list[object]:
        """The command that runs a recipe whose weights were changed."""
        from safetensors.numpy import save_file

        shapes = {"first.weight": (8, 64), "first.bias": (8,), "last.weight": (10, 8), "last.bias": (10,)}
        stored: dict[str, Any] = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
        change(stored)
        save_file(stored, self.folder / "weights.safetensors")
        return self.network("build", weights="weights.safetensors")

    def graph(self, content: bytes) -> list[object]:
        """The command that runs a recipe on an .onnx file with this content."""
        (self.folder / "wrong.onnx").write_bytes(content)
        return self.run(model={"source": "wrong.onnx"})

    def at(self, index: tuple[int, ...], value: Any, name: str = "x") -> Any:
        """An array with one value replaced."""
        array = self.arrays[name].copy()
        array[index] = value
        return array


Prepare = Callable[[Here], list[object]]
Row = tuple[str, Prepare, tuple[str, ...]]  # its name, the command, words of the message


class Trap:
    """Whoever unpickles this makes the folder `sprung`."""

    def __init__(self, sprung: Path) -> None:
        self.sprung = sprung

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.sprung),)


def check_refused(prepare: Prepare, words: tuple[str, ...], here: Here, invoke: Callable[..., Result]) -> None:
    """Exit code 2, one message with these words, nothing written, and nothing run from a stranger's file."""
    arguments = prepare(here)
    before = files(here.folder)
    refused(invoke(*arguments, "-q"), words)
    written = files(here.folder) - before
    assert not written & {"manifest.json", "report.json", "pruned.onnx", "quantized.onnx", "out.onnx"}
    assert not [name for name in written if name.startswith(".")], "a temporary file is left"
    assert not (here.folder / "sprung").exists(), "something was unpickled"


def refused(result: Result, words: tuple[str, ...]) -> None:
    """Exit code 2, and one message with these words."""
    assert result.exit_code == 2, result.stderr
    assert result.stdout == ""
    assert result.stderr.startswith("foldpress: ")
    assert result.stderr.count("foldpress: ") == 1
    assert "Traceback" not in result.stderr
    assert not [word for word in words if word not in result.stderr], result.stderr


def files(folder: Path) -> set[str]:
    """Names of all files, hidden ones too."""
    return {path.name for path in folder.rglob("*") if path.suffix != ".pyc"}
