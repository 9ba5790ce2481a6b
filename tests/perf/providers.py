"""Another provider against the CPU on the same graphs, in interleaved blocks of several fresh processes.

Run it where the provider is installed, in an environment of its own for those that replace onnxruntime:
`pip install --no-deps onnxruntime-openvino` over onnxruntime.
Usage: python tests/perf/providers.py PROVIDER GRAPH.onnx …
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from foldpress.benchmark import worker
from foldpress.benchmark.latency import save_feeds, synthetic_feed
from foldpress.benchmark.processes import serve, work
from foldpress.benchmark.ratios import ratio_of
from foldpress.graph import input_specs, load_graph
from foldpress.providers import CPU, available_providers
from foldpress.sessions import make_options, placement, start_session

PROCESSES, SECONDS = 8, 1.0


def carry_out(request: dict[str, Any]) -> dict[str, Any]:
    """One graph on each provider, taking turns; the scores tell how far apart they are."""
    with np.load(request["feeds"]) as archive:
        feeds = [{name: archive[name][i : i + 1] for name in archive.files} for i in range(8)]
    sessions = {name: start_session(Path(request["graph"]), make_options(threads=1), name) for name in request["on"]}
    found: dict[str, Any] = worker.timed(sessions, feeds, SECONDS, request["seed"])
    scores = [session.run(None, feeds[0])[0] for session in sessions.values()]
    found["apart"] = float(np.abs(scores[0] - scores[1]).max() / np.abs(scores[0]).max())
    found["placement"] = placement(sessions[request["on"][1]])
    return found


def compare(graph: Path, provider: str) -> str:
    """A row of the table."""
    with tempfile.TemporaryDirectory() as name:
        feeds = save_feeds(synthetic_feed(input_specs(load_graph(graph)), 1), 1, Path(name))
        request = {"graph": str(graph.resolve()), "feeds": str(feeds), "on": [CPU, provider]}
        found = [work("providers", {**request, "seed": seed}, Path(name)) for seed in range(PROCESSES)]
    blocks = {on: [one[on]["blocks_ms"] for one in found] for on in (CPU, provider)}
    medians = [
        np.median([run for process in blocks[on] for block in process for run in block]) for on in (CPU, provider)
    ]
    ratio = ratio_of(blocks[CPU], blocks[provider])
    return (f"| {graph.stem} | {medians[0]:.3f} | {medians[1]:.3f} | {ratio.value:.2f} ({ratio.low:.2f}–{ratio.high:.2f}) | "
            f"{found[0]['placement']} | {max(one['apart'] for one in found):.1e} |")  # fmt: skip


def main(provider: str, graphs: list[str]) -> None:
    """Print one row a graph."""
    if provider not in available_providers():
        print(f"{provider} is not installed here; nothing to compare")
        return
    print(f"| graph | CPU ms | {provider} ms | times as fast | placement | largest difference of the scores |\n|---|---|---|---|---|---|")  # fmt: skip
    for graph in graphs:
        print(compare(Path(graph), provider), flush=True)


if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[1].endswith("request.json"):
        serve(carry_out)
    else:
        main(sys.argv[1] if len(sys.argv) > 1 else "OpenVINOExecutionProvider", sys.argv[2:])
