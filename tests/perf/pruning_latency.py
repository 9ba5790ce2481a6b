"""Pruning by a budget of measured time, and by one of MACs beside it: time over the unpruned graph, accuracy, CPU seconds.

Both graphs in static int8, batch 1, one thread, 512 unlabelled training images, no training; scored on all held-out images. The
cache of latencies starts empty, so that the seconds hold the measuring of layers. ResNet-20 has the weights and data of others;
the wide network (64 to 256 channels) is that of tests/data/fashion, with the weights that FOLDPRESS_NETWORKS names.
Usage: python tests/perf/pruning_latency.py [network …]
"""

import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared" / "data"
os.environ |= {"ORT_DISABLE_TELEMETRY": "1", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
os.environ.setdefault("FOLDPRESS_SHARED", str(SHARED))

import numpy as np  # noqa: E402
import onnx_ir as ir  # noqa: E402

import foldpress  # noqa: E402
from foldpress.benchmark.plan import LatencyPlan  # noqa: E402
from foldpress.cost import graph_cost  # noqa: E402
from foldpress.data import Dataset, fit_inputs  # noqa: E402
from foldpress.errors import RequestError  # noqa: E402
from foldpress.graph import input_specs, load_graph  # noqa: E402
from foldpress.latency_cache import LatencyCache  # noqa: E402
from foldpress.optimizer.cleanup import clean_up  # noqa: E402
from foldpress.optimizer.passes import apply  # noqa: E402
from foldpress.optimizer.press import Press  # noqa: E402
from foldpress.optimizer.prune import Prune  # noqa: E402
from foldpress.optimizer.targets import choose_target  # noqa: E402
from foldpress.pruned_time import enough, time_ratio  # noqa: E402
from foldpress.runtime import open_session, predict  # noqa: E402
from foldpress.sources import read_data  # noqa: E402
from foldpress.time_budget import meet_latency  # noqa: E402

FASHION = ROOT / "tests/data/fashion"
TRAINED = Path(os.environ.get("FOLDPRESS_NETWORKS", FASHION))
NETWORKS = {
    "resnet20": ("model:build", ROOT / "tests/data/resnet20", Path(os.environ["FOLDPRESS_SHARED"]) / "cifar10/resnet20-12fca82f.th"),
    "wide": ("wide:build", FASHION, TRAINED / "wide/weights.safetensors"),
}  # fmt: skip
BUDGETS = {"resnet20": ("latency=0.85", "latency=0.7", "macs=0.8"), "wide": ("latency=0.8", "latency=0.6", "macs=0.6")}
CALIBRATION, DRAW = 512, 0
PLAN = enough(LatencyPlan())


def measure(network: str, scratch: Path) -> None:
    """Print a row for the unpruned int8 graph and one for each budget."""
    source, folder, weights = NETWORKS[network]
    path = scratch / f"{network}.onnx"
    foldpress.export(source, path, data="data:load", weights=str(weights), folder=folder)
    model = apply(clean_up(), load_graph(path)).model
    train, scored = (
        fit_inputs(read_data(f"data:{name}", folder), input_specs(model)) for name in ("load_train", "load")
    )
    calibration = train.select(np.random.default_rng(DRAW).permutation(len(train))[:CALIBRATION])
    unpruned = int8(model, calibration, None)
    reference = unpruned.ship().quantized
    assert reference is not None
    show(network, "float32", model, model, "", scored, "")
    show(network, "int8", reference, model, "1", scored, "")
    for budget in BUDGETS[network]:
        start = time.process_time()
        press, told = pressed(model, calibration, budget, scratch)
        graph = press.ship().quantized
        assert graph is not None
        seconds = f"{time.process_time() - start:.0f} s"
        ratio = time_ratio(reference, graph, calibration, PLAN)
        show(
            network,
            budget,
            graph,
            model,
            f"{ratio.value:.3f} ({ratio.low:.3f}–{ratio.high:.3f})",
            scored,
            f"{seconds} | {told}",
        )


def pressed(model: ir.Model, calibration: Dataset, budget: str, scratch: Path) -> tuple[Press, str]:
    """The press that meets a budget, and the search for it in words."""
    kind, share = budget.split("=")
    press = int8(model, calibration, Prune("structured", **{kind: float(share)}))  # type: ignore[arg-type]
    if kind != "latency":
        return press, ""
    settled = meet_latency(press, calibration, PLAN, LatencyCache(PLAN, scratch / budget))
    tried = [entry.detail.removesuffix(" of the time") for entry in settled.log if entry.subject == "search"]
    return press.pruning(settled.prune), "; then ".join(tried)


def int8(model: ir.Model, calibration: Dataset, prune: Prune | None) -> Press:
    """A press of static int8 for this machine."""
    return Press(model, calibration, np.zeros((1, CALIBRATION), np.intp), prune=prune, target=choose_target("auto"))


def show(network: str, name: str, graph: ir.Model, model: ir.Model, ratio: str, scored: Dataset, rest: Any) -> None:
    """One row: MACs left, time left, accuracy."""
    left = (graph_cost(graph).macs or 0) / (graph_cost(model).macs or 1)
    right = float((predict(open_session(graph), scored, 50)[0].argmax(1) == scored.y).mean())
    print(f"| {network} | {name} | {left:.1%} | {ratio} | {right:.2%} | {rest} |", flush=True)


if __name__ == "__main__":
    for asked in sys.argv[1:] or NETWORKS:
        if not NETWORKS[asked][2].is_file():
            print(f"{asked} skipped: there are no trained weights {NETWORKS[asked][2]}")
            continue
        with tempfile.TemporaryDirectory() as name:
            try:
                measure(asked, Path(name))
            except RequestError as error:
                print(f"{asked}: {error}")
