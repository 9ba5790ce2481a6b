"""Every step on a network above 2 GB, which one file cannot hold: seconds, peak memory and bytes of what each step leaves.

Twenty Linear layers of 5600 × 5600, one to 1,024 features, each followed by ReLU, and a last one to ten classes: 2.5 GB in
float32. Only the two last are narrow enough for Gram matrices, which structured pruning and gptq need. The labels are the
network's own predictions, since this is about size. Every step is the command itself, in a fresh process. Peak memory (VmHWM)
counts weights that are mapped from a file; "own" (the largest RssAnon seen, every 50 ms) does not.
Usage: python tests/perf/large.py [--width 5600] [--layers 20] [step …]
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import numpy as np

from foldpress.graph import graph_files
from foldpress.runtime import open_session, predict
from foldpress.sources import read_data

MODEL = """
import torch

def build():
    torch.manual_seed(0)
    layers = []
    for _ in range({layers}):
        layers += [torch.nn.Linear({width}, {width}), torch.nn.ReLU()]
        torch.nn.init.kaiming_normal_(layers[-2].weight)
    narrow = [torch.nn.Linear({width}, 1024), torch.nn.ReLU(), torch.nn.Linear(1024, 10)]
    return torch.nn.Sequential(*layers, *narrow)
"""
RECIPE = """
[model]
source = "net.onnx"
[data]
source = "data.npz"
[folds]
splits = 2
scheme = "kfold"
[quantize]
precision = "static"
samples = 32
[benchmark]
processes = 2
seconds = 20
[gate]
max_drop = 0.5
"""
QUANTIZE = ("quantize", "net.onnx", "--data", "data.npz", "--samples", "32")
STEPS: dict[str, tuple[str, ...]] = {
    "export": ("export", "model:build", "--data", "inputs.npz", "-o", "net.onnx"),
    "inspect": ("inspect", "net.onnx"),
    **{f"quantize {name}": (*QUANTIZE, "--precision", name, "-o", f"{name}.onnx")
       for name in ("static", "dynamic", "float16")},
    "prune": ("prune", "net.onnx", "--data", "data.npz", "--method", "unstructured", "--sparsity", "0.5", "-o", "pruned.onnx"),
    "prune structured": ("prune", "net.onnx", "--data", "data.npz", "--macs", "0.995", "-o", "structured.onnx"),
    **{f"quantize static, {name}": (*QUANTIZE, "--precision", "static", "--weight-passes", name, "-o", f"{name}.onnx")
       for name in ("none", "gptq")},
    "validate": ("validate", "net.onnx", "dynamic.onnx", "--data", "data.npz", "--max-drop", "0.5"),
    "bench": ("bench", "net.onnx", "dynamic.onnx", "--data", "data.npz", "--seconds", "20"),
    "quantize weights": (*QUANTIZE, "--precision", "weights", "--bits", "8", "-o", "weights.onnx"),
    "quantize auto": (*QUANTIZE, "--precision", "auto", "-o", "auto.onnx"),
    "run": ("run", "recipe.toml", "-o", "run"),
    "run from source": ("run", "source.toml", "-o", "run-source"),
    **{f"quantize {name}": (*QUANTIZE, "--precision", name, "-o", f"{name}.onnx") for name in ("weight-int8", "weight-int4")},
}  # fmt: skip
SAMPLES = 128


@dataclass
class Peak:
    """The most memory that a process held, in MB: with and without what is mapped from files."""

    whole: int = 0
    own: int = 0

    def look(self, process: int) -> None:
        """Take what the process holds now into account, and what its children do."""
        try:
            status = Path(f"/proc/{process}/status").read_text()
            children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
        except (FileNotFoundError, ProcessLookupError):  # it has just ended
            return
        sizes = {
            line.split(":")[0]: int(line.split()[1]) // 1000 for line in status.splitlines() if line.endswith("kB")
        }
        self.whole, self.own = max(self.whole, sizes.get("VmHWM", 0)), max(self.own, sizes.get("RssAnon", 0))
        for child in children:
            self.look(int(child))


def measure(step: str, folder: Path) -> None:
    """Run a step and print what it took."""
    command = [sys.executable, "-P", "-m", "foldpress", *STEPS[step], "-q"]
    peak, start = Peak(), time.perf_counter()
    with (folder / "said.txt").open("w") as said:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        process = subprocess.Popen(command, cwd=folder, stdout=said, stderr=said, env=environment)
        while process.poll() is None:
            peak.look(process.pid)
            time.sleep(0.05)
    seconds = time.perf_counter() - start
    if process.returncode not in (0, 3):  # 3: too few samples to be sure, which is no matter of size
        print((folder / "said.txt").read_text()[-2000:])
        raise SystemExit(f"{step} ended with {process.returncode}")
    output = folder / STEPS[step][-1]
    made = sum(file.stat().st_size for file in graph_files(output)) if "-o" in STEPS[step] and output.suffix else 0
    agreement = agreement_of(output, folder) if made and step != "export" else ""
    print(f"| {step} | {seconds:.0f} | {peak.whole} | {peak.own} | {made / 1e6:.0f} | {agreement} |", flush=True)


def agreement_of(graph: Path, folder: Path) -> str:
    """How close a graph's scores are to float32's, and how often the class is the same."""
    data = read_data("data.npz", folder)
    expected, found = np.load(folder / "scores.npy"), predict(open_session(graph), data, SAMPLES)[0]
    error = np.linalg.norm(found - expected) / np.linalg.norm(expected)
    return f"{(found.argmax(1) == expected.argmax(1)).mean():.0%}, {error:.2g}"


def label(folder: Path) -> None:
    """Write the data that all other steps use: inputs, and the classes that float32 gives them."""
    inputs = read_data("inputs.npz", folder)
    scores = predict(open_session(folder / "net.onnx"), inputs, SAMPLES)[0]
    np.save(folder / "scores.npy", scores)
    np.savez(folder / "data.npz", input=inputs.batch(slice(None))["input"], y=scores.argmax(1))


def main(width: int, layers: int, steps: list[str], folder: Path) -> None:
    """Print one row for each step."""
    (folder / "model.py").write_text(MODEL.format(width=width, layers=layers))
    (folder / "recipe.toml").write_text(RECIPE)
    (folder / "source.toml").write_text(RECIPE.replace("net.onnx", "model:build"))
    inputs = np.random.default_rng(0).standard_normal((SAMPLES, width), dtype=np.float32)
    np.savez(folder / "inputs.npz", input=inputs)
    print(
        "| step | s | peak MB | own MB | file MB | same class, relative error of the scores |\n|---|---|---|---|---|---|"
    )
    for step in STEPS:
        if step == "export" or not steps or step in steps:
            measure(step, folder)
        if step == "export":
            label(folder)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=5600)
    parser.add_argument("--layers", type=int, default=20)
    parser.add_argument("steps", nargs="*", metavar="step", help=", ".join(STEPS))
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="foldpress.") as where:
        main(asked.width, asked.layers, asked.steps, Path(where))
