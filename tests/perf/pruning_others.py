"""Structured pruning of ResNet-20 by foldpress and by others, without labels and without training afterwards.

Everyone has the same 512 training images of CIFAR-10; 5,000 test images are scored. The share of channels that the others
take is searched until the budget is just kept, and each is given the best of its variants on 500 of the test images: see
`other_pruners.py`. Times: batch 1, one thread, all graphs of a budget interleaved, five fresh processes; int8 is
`foldpress quantize`, static. Usage: python tests/perf/pruning_others.py [kind of budget …]
"""

import importlib.util
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SHARED = Path(os.environ.get("FOLDPRESS_SHARED", Path(__file__).parents[3] / "shared" / "data"))
os.environ |= {"ORT_DISABLE_TELEMETRY": "1", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
os.environ["FOLDPRESS_SHARED"] = str(SHARED)
FOLDER = Path(__file__).parents[1] / "data" / "resnet20"
WEIGHTS = str(SHARED / "cifar10" / "resnet20-12fca82f.th")
NEEDED = {"onnxsim": "onnxsim==0.8.1", "torch_pruning": "torch-pruning==1.6.1"}

import numpy as np  # noqa: E402
import onnx_ir as ir  # noqa: E402
from other_pruners import (  # type: ignore[import-not-found]  # noqa: E402  # beside this script
    KINDS,
    Maker,
    Pruned,
    by_onnxsim,
    by_torch_pruning,
    graph_scores,
    graph_size,
)

import foldpress  # noqa: E402
from foldpress.benchmark.latency import measure  # noqa: E402
from foldpress.benchmark.latency_rows import latency_rows  # noqa: E402
from foldpress.benchmark.plan import LatencyPlan  # noqa: E402
from foldpress.data import Dataset, fit_inputs  # noqa: E402
from foldpress.exporter.export import export_model  # noqa: E402
from foldpress.exporter.source import build_model  # noqa: E402
from foldpress.graph import input_specs, load_graph, save_graph  # noqa: E402
from foldpress.optimizer.cleanup import clean_up  # noqa: E402
from foldpress.optimizer.passes import apply  # noqa: E402
from foldpress.sources import read_data  # noqa: E402

SHARES = (0.9, 0.8, 0.7, 0.5)
CALIBRATION, DRAW = 512, 6
CHOOSING = np.arange(500)
HALVINGS = 7  # of the interval in which a share of channels is searched
TIMING = LatencyPlan(processes=5, seconds=15.0)


@dataclass(frozen=True)
class Material:
    """What everyone starts from: the network as PyTorch and as a clean graph, and its data."""

    network: Any
    graph: ir.Model
    calibration: Dataset
    held_out: Dataset


def main(kinds: list[str]) -> None:
    """Print one row for each budget and tool."""
    material = prepare()
    inner = [name for name, _ in material.network.named_modules() if name.endswith(".conv1")]
    tools = by_onnxsim(material.graph, material.calibration)
    tools |= by_torch_pruning(material.network, inner, material.calibration)
    print("| left | tool | MACs | parameters | accuracy | time, float32 | time, int8 |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for kind in kinds:
        for share in SHARES:
            graphs = {"unpruned": material.graph, "foldpress": by_foldpress(material, kind, share)}
            budget = share * graph_size(material.graph)[kind]
            for name, makers in tools.items():
                found = [made for maker in makers if (made := within(maker, kind, budget)) is not None]
                if found:
                    graphs[name] = best(found, material.held_out).graph()
            show(f"{share:.0%} {kind}", graphs, material)


def prepare() -> Material:
    """The trained network, its cleaned graph, calibration images and test images."""
    network = build_model("model:build", WEIGHTS, FOLDER)
    train, test = (read_data(f"data:{part}", FOLDER) for part in ("load_train", "load"))
    graph = apply(clean_up(), export_model(network, test).graph).model
    train, test = (fit_inputs(data, input_specs(graph)) for data in (train, test))
    chosen = np.random.default_rng(DRAW).permutation(len(train))[:CALIBRATION]
    return Material(network, graph, train.select(chosen), test)


def by_foldpress(material: Material, kind: str, share: float) -> ir.Model:
    """As the command does it."""
    with tempfile.TemporaryDirectory() as name:
        start, output = Path(name) / "start.onnx", Path(name) / "pruned.onnx"
        save_graph(material.graph, start)
        data = str(save(material.calibration, Path(name) / "data.npz"))
        foldpress.prune(start, output, data=data, samples=CALIBRATION, **{kind: share})  # type: ignore[arg-type]
        return apply(clean_up(), load_graph(output)).model


def within(make: Maker, kind: str, budget: float) -> Pruned | None:
    """The largest result that keeps the budget, or None where there is none."""
    low, high, found = 0.0, 0.95, None
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        made = make(middle)
        if made.size[kind] > budget:
            low = middle
        else:
            high, found = middle, made
    return found


def best(made: list[Pruned], held_out: Dataset) -> Pruned:
    """The one that is right most often on a part of the test images."""
    some = held_out.select(CHOOSING)
    return max(made, key=lambda one: accuracy(one.scores(some), some))


def show(budget: str, graphs: dict[str, ir.Model], material: Material) -> None:
    """Score, quantize and time the graphs of one budget; the first is the reference."""
    with tempfile.TemporaryDirectory() as name:
        float32, int8 = ({tool: Path(name) / f"{tool}, {kind}.onnx" for tool in graphs} for kind in ("float32", "int8"))
        calibration = str(save(material.calibration, Path(name) / "calibration.npz"))
        for tool, graph in graphs.items():
            save_graph(graph, float32[tool])
            foldpress.quantize(float32[tool], int8[tool], data=calibration, precision="static", samples=CALIBRATION)
        times = timed(float32, int8, material.held_out)
        for number, (tool, graph) in enumerate(graphs.items()):
            left = " | ".join(f"{graph_size(graph)[kind] / graph_size(material.graph)[kind]:.1%}" for kind in KINDS)
            right = accuracy(graph_scores(graph, material.held_out), material.held_out)
            over = " | ".join(ratio(rows[number]) for rows in times)
            print(f"| {budget} | {tool} | {left} | {right:.2%} | {over} |", flush=True)


def timed(float32: dict[str, Path], int8: dict[str, Path], data: Dataset) -> list[list[dict[str, Any]]]:
    """Latency of all graphs, interleaved, each against the first of its own precision."""
    paths = {path.stem: path for path in (*float32.values(), *int8.values())}
    found = measure(paths, data, TIMING)
    halves = found[: len(float32)], found[len(float32) :]
    return [latency_rows(half, half[0].graph, confidence=0.95) for half in halves]


def ratio(row: dict[str, Any]) -> str:
    """Time over the reference's, with its 95 % interval."""
    if row["speedup_low"] is None:
        return "1"
    return f"{1 / row['speedup']:.2f} ({1 / row['speedup_high']:.2f}–{1 / row['speedup_low']:.2f})"


def accuracy(scores: Any, data: Dataset) -> float:
    return float((scores.argmax(1) == data.y).mean())


def save(data: Dataset, path: Path) -> Path:
    """Samples as a file that `foldpress` reads."""
    np.savez(path, **data.batch(slice(None)))  # type: ignore[arg-type]
    return path


if __name__ == "__main__":
    absent = [package for name, package in NEEDED.items() if importlib.util.find_spec(name) is None]
    if absent or not SHARED.is_dir():
        print("skipped:", f"{', '.join(absent)} not installed" if absent else f"no trained weights in {SHARED}")
    else:
        main(sys.argv[1:] or list(KINDS))
