"""Factorization by budgets of measured time, of MACs, and of the drop: what is left, accuracy, time over the unfactorized graph.

512 training samples, whose labels only a largest drop looks at; no training; scored on all held-out samples. Batch 1, one thread.
Each float graph that comes of it is then quantized as well, and timed in turns with the unfactorized int8 graph. The cache of
latencies starts empty, so that the seconds hold the measuring of layers. For the networks see `networks.py`.
Usage: python tests/perf/factorization.py [network …]
"""

from pathlib import Path

from networks import Material, each, exported, material  # type: ignore[import-not-found]  # before numpy

# isort: split
import onnx_ir as ir
from budgets import head, left, meet, row, share, timed  # type: ignore[import-not-found]  # beside this script

from foldpress.errors import RequestError
from foldpress.optimizer.factorize.request import Factorization
from foldpress.optimizer.targets import choose_target
from foldpress.precision import Precision, PrecisionName

BUDGETS = {
    "wide": ("latency=0.7", "latency=0.5", "macs=0.5", "max_drop=0.005"),
    "vgg": ("latency=0.7", "latency=0.5", "macs=0.5"),
    "vit": ("latency=0.85", "macs=0.8", "macs=0.7", "max_drop=0.005"),
    "sequence": ("latency=0.95", "latency=0.9", "macs=0.7"),
}
INT8: dict[str, PrecisionName] = {"wide": "static", "vgg": "static", "vit": "dynamic", "sequence": "dynamic"}
DRAW = 0


def measure(network: str, scratch: Path) -> None:
    """Print two rows for the network as it is, and two for each budget: in float32 and in int8."""
    given, precision = material(*exported(network, scratch), DRAW), INT8[network]
    whole = int8(given, given.model, precision)
    time = f"1; {timed(given.model, whole, given.calibration)} of float32"
    row(network, "none", "float32", *left(given.model, given), "1", "", "")
    row(network, "none", precision, *left(whole, given), time, "", "")
    for budget in BUDGETS[network]:
        try:
            met = meet(given.press(given.model, factorize=Factorization(**share(budget))), given.calibration)
        except RequestError as error:
            row(network, budget, "float32", *[""] * 5, str(error).replace("\n", "; "))
            continue
        graph = met.pressed.factorized
        time = timed(given.model, graph, given.calibration)
        row(network, budget, "float32", *left(graph, given), time, f"{met.seconds:.0f} s", met.search)
        small = int8(given, graph, precision)
        row(network, budget, precision, *left(small, given), timed(whole, small, given.calibration), "", "")


def int8(given: Material, graph: ir.Model, precision: PrecisionName) -> ir.Model:
    """A graph quantized for this machine."""
    made: ir.Model = given.press(graph, target=choose_target("auto"), precision=Precision(precision)).ship().quantized
    return made


if __name__ == "__main__":
    head("network", "budget", "precision", "MACs left", "kB", "accuracy", "time over unfactorized", "CPU", "trials")
    each(measure, BUDGETS)
