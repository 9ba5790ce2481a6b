"""LoadGen's SingleStream against our own timing of the same graph: p50 and p90, taken in turns by fresh processes.

Needs mlcommons-loadgen and an exported graph, by default that of models/digits, trained before.
Usage: python tests/perf/loadgen.py GRAPH.onnx [rounds]
"""

import importlib.util
import sys
import tempfile
from pathlib import Path

import numpy as np

from foldpress.benchmark.latency import save_feeds, synthetic_feed
from foldpress.benchmark.loadgen import run_scenario
from foldpress.benchmark.plan import LatencyPlan
from foldpress.benchmark.processes import work
from foldpress.graph import input_specs, load_graph
from foldpress.providers import CPU

SECONDS, PROCESSES = 1.0, 8
WORKER = "foldpress.benchmark.worker"


def ours(graph: Path, feeds: Path, seed: int) -> list[float]:
    """Milliseconds of every run of fresh processes, for as long as LoadGen takes: each times a fast graph for a moment only."""
    request = {"graphs": {"graph": str(graph)}, "feeds": str(feeds), "batch": 1, "provider": CPU, "provider_options": {},
               "threads": 1, "seconds": SECONDS}  # fmt: skip
    answers = [work(WORKER, {**request, "seed": seed + turn}, feeds.parent) for turn in range(PROCESSES)]
    return [run for answer in answers for block in answer["graph"]["blocks_ms"] for run in block]


def main(graph: Path, rounds: int) -> None:
    """Print a row for each percentile: medians over rounds of both, and of their ratio."""
    if importlib.util.find_spec("mlperf_loadgen") is None:
        print("mlcommons-loadgen is not installed here; nothing to compare")
        return
    data = synthetic_feed(input_specs(load_graph(graph)), 1)
    pairs = []
    with tempfile.TemporaryDirectory() as name:
        feeds = save_feeds(data, 1, Path(name))
        for seed in range(rounds):
            runs = np.quantile(ours(graph, feeds, PROCESSES * seed), [0.5, 0.9])
            (row,) = run_scenario("SingleStream", {"graph": graph}, data, LatencyPlan(seconds=SECONDS))
            pairs.append([runs, [row["p50_ms"], row["p90_ms"]]])
            print(
                f"{seed}: ours {runs.round(4)}, LoadGen {row['p50_ms']:.4f}, {row['p90_ms']:.4f}",
                file=sys.stderr,
                flush=True,
            )
    found = np.array(pairs)
    print("| percentile | ours, ms | LoadGen, ms | LoadGen over ours, median of rounds |\n|---|---|---|---|")
    for index, name in enumerate(("p50", "p90")):
        ours_ms, theirs_ms = np.median(found[:, :, index], axis=0)
        ratio = np.median(found[:, 1, index] / found[:, 0, index])
        print(f"| {name} | {ours_ms:.4f} | {theirs_ms:.4f} | {ratio:.3f} |")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        print("give a graph, such as exported.onnx of `make demo`")
    else:
        main(Path(sys.argv[1]).resolve(), int(sys.argv[2]) if len(sys.argv) > 2 else 20)
