"""Structured pruning by budget: accuracy, flips and squared error of the scores, CPU seconds and peak memory.

512 unlabelled training samples, no training, one draw or three; scored on what is held out, 5,000 at most. For the networks see
`networks.py`. Each draw is a process of its own, and its peak is taken before anything is scored.
Usage: python tests/perf/pruning.py [network …]
"""

import resource
import subprocess
import sys
import time
from pathlib import Path

# before numpy, for which it sets the number of threads
from networks import each, exported, macs, material, scores  # type: ignore[import-not-found]

# isort: split
import numpy as np
import onnx_ir as ir

from foldpress.data import Dataset
from foldpress.errors import RequestError
from foldpress.optimizer.press import Press
from foldpress.optimizer.prune import Prune

NETWORKS = ("resnet20", "digits", "sequence", "wide", "mobilenet", "vgg")
MULTIPLES = {"resnet20": (4, 1)}  # the others: 4
BUDGETS = (0.9, 0.8, 0.7, 0.6, 0.5)
DRAWS = {
    "resnet20": (9, 10, 11),
    "digits": (6, 7, 8),
    "lstm": (6, 7, 8),
}  # the pass was made up on draws 0 to 5, and on 6 to 8 of ResNet-20; the others: 6
SCORED = 5000


def measure(network: str, scratch: Path) -> None:
    """Print one row for each budget, the means of all draws."""
    path, folder = exported(network, scratch)
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
    given = material(path, folder, draw)
    model = given.model
    made = [(model, 0.0, 0.0), *(pruned(model, given.calibration, *case) for case in cases(path.stem))]
    scored = given.scored.select(np.arange(min(SCORED, len(given.scored))))
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


if __name__ == "__main__":
    if sys.argv[1:2] == ["--draw"]:
        one_draw(Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))
        sys.exit()
    each(measure, NETWORKS)
