"""Structured pruning by budget: accuracy, flips and squared error of the scores, CPU seconds and peak memory.

512 unlabelled training images, no training, three draws; scored on all images that are held out. ResNet-20 has the weights and data of
others; models/digits is trained first. One BLAS thread: with more, on a machine that is busy otherwise, waiting threads cost
many times that. Each draw is a process of its own, and its peak is taken before anything is scored.
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

import numpy as np  # noqa: E402
import onnx_ir as ir  # noqa: E402

import foldpress  # noqa: E402
from foldpress.cost import graph_cost  # noqa: E402
from foldpress.data import Dataset, fit_inputs  # noqa: E402
from foldpress.graph import input_specs, load_graph, serialize  # noqa: E402
from foldpress.optimizer.cleanup import clean_up  # noqa: E402
from foldpress.optimizer.passes import apply  # noqa: E402
from foldpress.optimizer.press import Press  # noqa: E402
from foldpress.optimizer.prune import Prune  # noqa: E402
from foldpress.runtime import open_session, predict  # noqa: E402
from foldpress.sources import read_data  # noqa: E402

MULTIPLES = (4, 1)
BUDGETS = (0.9, 0.8, 0.7, 0.6, 0.5)
CASES = [(budget, multiple) for multiple in MULTIPLES for budget in BUDGETS]
CALIBRATION, DRAWS = 512, range(6, 9)  # the pass was made up on draws 0 to 5


def measure(network: str, scratch: Path) -> None:
    """Print one row for each budget, the means of all draws."""
    folder, weights = _network(network, scratch)
    path = scratch / f"{network}.onnx"
    foldpress.export("model:build", path, data="data:load", weights=str(weights), folder=folder)
    command = [sys.executable, __file__, "--draw", str(path), str(folder)]
    draws = [subprocess.run([*command, str(draw)], check=True, capture_output=True, text=True) for draw in DRAWS]
    rows = np.array([[line.split() for line in draw.stdout.splitlines()] for draw in draws], float)
    for (budget, multiple), parts in zip(((1.0, 1), *CASES), rows.swapaxes(0, 1), strict=True):
        left, right, flips, error, seconds, peak = parts.mean(0)
        cost = f"{seconds:.1f} s | {peak:.0f} MB"
        print(f"| {network} | {budget} | {multiple} | {left:.1%} | {right:.2%} | {flips:.2%} | {error:.4f} | {cost} |")


def one_draw(path: Path, folder: Path, draw: int) -> None:
    """Print share of MACs left, accuracy, flips, error, seconds and peak for the float graph and every budget."""
    model = apply(clean_up(), load_graph(path)).model
    train = fit_inputs(read_data("data:load_train", folder), input_specs(model))
    calibration = train.select(np.random.default_rng(draw).permutation(len(train))[:CALIBRATION])
    made = [(model, 0.0, 0.0), *(pruned(model, calibration, *case) for case in CASES)]
    scored = fit_inputs(read_data("data:load", folder), input_specs(model))
    expected = scores(model, scored)
    for graph, seconds, peak in made:
        found = scores(graph, scored)
        right, flips = (
            float(same.mean()) for same in (found.argmax(1) == scored.y, found.argmax(1) != expected.argmax(1))
        )
        error = float(np.square(found - expected).mean() / expected.var())
        print(macs(graph) / macs(model), right, flips, error, seconds, peak, flush=True)


def pruned(model: ir.Model, calibration: Dataset, budget: float, multiple: int) -> tuple[ir.Model, float, float]:
    """The graph, CPU seconds with collecting statistics, and the process's peak so far in megabytes."""
    start = time.process_time()
    asked = Prune("structured", macs=budget, multiple=multiple)
    press = Press(model, calibration, np.zeros((1, len(calibration)), np.intp), prune=asked, target=None)
    graph = press.float_graph()
    return graph, time.process_time() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def macs(model: ir.Model) -> float:
    """Of one sample."""
    return float(sum(layer.macs or 0 for layer in graph_cost(model).layers))


def scores(model: ir.Model, data: Dataset) -> Any:
    """Scores of each sample, [N, classes]."""
    return predict(open_session(serialize(model)), data, 50)[0]


def _network(network: str, scratch: Path) -> tuple[Path, Path]:
    """The folder of a network and its weights; models/digits is trained in a copy."""
    if network == "resnet20":
        return ROOT / "tests/data/resnet20", Path(os.environ["FOLDPRESS_SHARED"]) / "cifar10/resnet20-12fca82f.th"
    folder = scratch / network
    shutil.copytree(ROOT / "models" / network, folder)
    subprocess.run([sys.executable, str(folder / "train.py")], check=True, capture_output=True)
    return folder, folder / "weights.safetensors"


if __name__ == "__main__":
    if sys.argv[1:2] == ["--draw"]:
        one_draw(Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))
        sys.exit()
    for asked in sys.argv[1:] or ("resnet20", "digits"):
        if asked == "resnet20" and not Path(os.environ["FOLDPRESS_SHARED"]).is_dir():
            print(f"{asked} skipped: no trained weights and data in {os.environ['FOLDPRESS_SHARED']}")
            continue
        with tempfile.TemporaryDirectory() as name:
            measure(asked, Path(name))
