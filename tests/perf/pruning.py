"""Structured pruning by budget: accuracy, flips and squared error of the scores, CPU seconds and peak memory.

512 unlabelled training samples, no training, one draw or three; scored on what is held out, 5,000 at most. ResNet-20, the LSTM and
the ViT have the weights and data of others; models/digits and models/sequence are trained first; those on Fashion-MNIST must have been, by
tests/data/fashion/train.py. One BLAS thread: with more, on a machine that is busy otherwise, waiting threads cost many times
that. Each draw is a process of its own, and its peak is taken before anything is scored.
Usage: python tests/perf/pruning.py [network …]
"""

import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

SHARED = Path(__file__).parents[3] / "shared" / "data"
os.environ |= {"ORT_DISABLE_TELEMETRY": "1", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
os.environ.setdefault("FOLDPRESS_SHARED", str(SHARED))
ROOT = Path(__file__).parents[2]
FASHION = ROOT / "tests/data/fashion"
TRAINED = Path(os.environ.get("FOLDPRESS_NETWORKS", FASHION))

import numpy as np  # noqa: E402
import onnx_ir as ir  # noqa: E402

import foldpress  # noqa: E402
from foldpress.cost import graph_cost  # noqa: E402
from foldpress.data import Dataset, fit_inputs  # noqa: E402
from foldpress.errors import RequestError  # noqa: E402
from foldpress.graph import input_specs, load_graph, serialize  # noqa: E402
from foldpress.optimizer.cleanup import clean_up  # noqa: E402
from foldpress.optimizer.passes import apply  # noqa: E402
from foldpress.optimizer.press import Press  # noqa: E402
from foldpress.optimizer.prune import Prune  # noqa: E402
from foldpress.runtime import open_session, predict  # noqa: E402
from foldpress.sources import read_data  # noqa: E402

NETWORKS = ("resnet20", "digits", "sequence", "wide", "mobilenet", "vgg")
GIVEN = {
    "resnet20": "cifar10/resnet20-12fca82f.th",
    "lstm": "spoken_digits/best_modelFP.pth",
    "vit": "cifar10/vit.pth",
}
MULTIPLES = {"resnet20": (4, 1)}  # the others: 4
BUDGETS = (0.9, 0.8, 0.7, 0.6, 0.5)
CALIBRATION = 512
DRAWS = {
    "resnet20": (9, 10, 11),
    "digits": (6, 7, 8),
    "lstm": (6, 7, 8),
}  # the pass was made up on draws 0 to 5, and on 6 to 8 of ResNet-20; the others: 6
SCORED = 5000


def measure(network: str, scratch: Path) -> None:
    """Print one row for each budget, the means of all draws."""
    source, folder, weights = _network(network, scratch)
    if not weights.is_file():
        print(f"{network} skipped: no trained weights {weights}")
        return
    path = scratch / f"{network}.onnx"
    foldpress.export(source, path, data="data:load", weights=str(weights), folder=folder)
    command = [sys.executable, __file__, "--draw", str(path), str(folder)]
    draws = [
        subprocess.run([*command, str(draw)], check=True, stdout=subprocess.PIPE, text=True)
        for draw in DRAWS.get(network, (6,))
    ]
    rows = np.array([[line.split() for line in draw.stdout.splitlines()] for draw in draws], float)
    for (budget, multiple), parts in zip(((1.0, 1), *cases(network)), rows.swapaxes(0, 1), strict=True):
        left, right, flips, error, seconds, peak = parts.mean(0)
        cost = f"{seconds:.1f} s | {peak:.0f} MB"
        print(f"| {network} | {budget} | {multiple} | {left:.1%} | {right:.2%} | {flips:.2%} | {error:.4f} | {cost} |")


def cases(network: str) -> list[tuple[float, int]]:
    """Budgets, and by how many channels go at a time."""
    return [(budget, multiple) for multiple in MULTIPLES.get(network, (4,)) for budget in BUDGETS]


def one_draw(path: Path, folder: Path, draw: int) -> None:
    """Print share of MACs left, accuracy, flips, error, seconds and peak for the float graph and every budget.

    NaN where a budget cannot be met.
    """
    model = apply(clean_up(), load_graph(path)).model
    train = fit_inputs(read_data("data:load_train", folder), input_specs(model))
    calibration = train.select(np.random.default_rng(draw).permutation(len(train))[:CALIBRATION])
    made = [(model, 0.0, 0.0), *(pruned(model, calibration, *case) for case in cases(path.stem))]
    held_out = fit_inputs(read_data("data:load", folder), input_specs(model))
    scored = held_out.select(np.arange(min(SCORED, len(held_out))))
    expected = scores(model, scored)
    for graph, seconds, peak in made:
        if graph is None:
            print(*[np.nan] * 4, seconds, peak, flush=True)
            continue
        found = scores(graph, scored)
        right, flips = (
            float(same.mean()) for same in (found.argmax(1) == scored.y, found.argmax(1) != expected.argmax(1))
        )
        error = float(np.square(found - expected).mean() / expected.var())
        print(macs(graph) / macs(model), right, flips, error, seconds, peak, flush=True)


def pruned(model: ir.Model, calibration: Dataset, budget: float, multiple: int) -> tuple[ir.Model | None, float, float]:
    """The graph, if there is one that small, CPU seconds with collecting statistics, and the process's peak so far in megabytes."""
    start = time.process_time()
    asked = Prune("structured", macs=budget, multiple=multiple)
    press = Press(model, calibration, np.zeros((1, len(calibration)), np.intp), prune=asked, target=None)
    try:
        graph = press.float_graph()
    except RequestError as error:
        print(error, file=sys.stderr)
        graph = None
    return graph, time.process_time() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def macs(model: ir.Model) -> float:
    """Of one sample."""
    return float(sum(layer.macs or 0 for layer in graph_cost(model).layers))


def scores(model: ir.Model, data: Dataset) -> Any:
    """Scores of each sample, [N, classes]."""
    return predict(open_session(serialize(model)), data, 50)[0]


def _network(network: str, scratch: Path) -> tuple[str, Path, Path]:
    """Source, folder and weights of a network; those of models/ are trained in a copy, unless they have been."""
    if network in GIVEN:
        weights = Path(os.environ["FOLDPRESS_SHARED"]) / GIVEN[network]
        return "model:build", ROOT / "tests/data" / network, weights
    if (FASHION / f"{network}.py").is_file():
        return f"{network}:build", FASHION, TRAINED / network / "weights.safetensors"
    weights, folder = TRAINED / network / "weights.safetensors", ROOT / "models" / network
    if weights.is_file():
        return "model:build", folder, weights
    shutil.copytree(folder, scratch / network)
    folder = scratch / network
    subprocess.run([sys.executable, str(folder / "train.py")], check=True, capture_output=True)
    return "model:build", folder, folder / "weights.safetensors"


if __name__ == "__main__":
    if sys.argv[1:2] == ["--draw"]:
        one_draw(Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))
        sys.exit()
    for asked in sys.argv[1:] or NETWORKS:
        with tempfile.TemporaryDirectory() as name:
            measure(asked, Path(name))
