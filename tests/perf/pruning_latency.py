"""Pruning by a budget of measured time, and by one of MACs beside it: time over the unpruned graph, accuracy, CPU seconds.

Both graphs in static int8, batch 1, one thread, 512 unlabelled training images, no training; scored on all held-out images. The
cache of latencies starts empty, so that the seconds hold the measuring of layers. For the networks see `networks.py`.
Usage: python tests/perf/pruning_latency.py [network …]
"""

from functools import partial
from pathlib import Path

from networks import each, exported, material  # type: ignore[import-not-found]  # before numpy

# isort: split
from budgets import head, left, meet, row, share, timed  # type: ignore[import-not-found]  # beside this script

from foldpress.optimizer.prune import Prune
from foldpress.optimizer.targets import choose_target

BUDGETS = {"resnet20": ("latency=0.85", "latency=0.7", "macs=0.8"), "wide": ("latency=0.8", "latency=0.6", "macs=0.6")}
DRAW = 0


def measure(network: str, scratch: Path) -> None:
    """Print a row for the float graph, the unpruned int8 graph, and one for each budget."""
    given = material(*exported(network, scratch), DRAW)
    press = partial(given.press, given.model, target=choose_target("auto"))
    reference = press().ship().quantized
    row(network, "float32", *left(given.model, given), "", "", "")
    row(network, "int8", *left(reference, given), "1", "", "")
    for budget in BUDGETS[network]:
        met = meet(press(prune=Prune("structured", **share(budget))), given.calibration)
        graph = met.pressed.quantized
        time = timed(reference, graph, given.calibration)
        row(network, budget, *left(graph, given), time, f"{met.seconds:.0f} s", met.search)


if __name__ == "__main__":
    head("network", "budget", "MACs left", "kB", "accuracy", "time over unpruned int8", "CPU", "trials")
    each(measure, BUDGETS)
