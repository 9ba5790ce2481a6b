"""A fresh process that profiles graphs node by node, in turns: started by `explain.py`, never imported by it.

Usage: python -m foldpress.benchmark.profile_worker REQUEST.json ANSWER.json
"""

import json
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from foldpress.benchmark.processes import serve
from foldpress.benchmark.worker import batches
from foldpress.sessions import make_options, start_session

_RUNS = (20, 200)  # a profile grows by half a kilobyte for each node and run
_SECONDS = 2.0
_WARM_UP_RUNS = 5
_SUFFIX = "_kernel_time"


def carry_out(request: dict[str, Any]) -> dict[str, Any]:
    """For each graph: `run_us`, and `nodes` in the order that they ran in, each with its `us` in a typical run."""
    with np.load(request["feeds"], allow_pickle=False) as archive:
        feeds = batches({name: archive[name] for name in archive.files}, request["batch"])
    sessions = {name: _session(path, request) for name, path in request["graphs"].items()}
    start = time.perf_counter()
    for session in sessions.values():
        for _ in range(_WARM_UP_RUNS):
            session.run(None, feeds[0])
    once = (time.perf_counter() - start) / _WARM_UP_RUNS
    runs = int(np.clip(_SECONDS / once, *_RUNS))
    for turn in range(runs):
        for session in sessions.values():
            session.run(None, feeds[turn % len(feeds)])
    return {name: read_profile(_profile(session), runs) for name, session in sessions.items()}


def read_profile(events: list[dict[str, Any]], runs: int) -> dict[str, Any]:
    """The last `runs` runs of one of onnxruntime's profiles; microseconds are means without the slow and fast quarter."""
    whole = [event for event in events if event["name"] == "model_run"][-runs:]
    begin = whole[0]["ts"]
    took: dict[tuple[str, ...], list[float]] = defaultdict(lambda: [0.0] * runs)
    starts = np.array([event["ts"] for event in whole])
    for event in events:
        if event["cat"] == "Node" and event["name"].endswith(_SUFFIX) and event["ts"] >= begin:
            facts = event["args"]
            key = (facts["node_index"], event["name"].removesuffix(_SUFFIX), facts["op_name"], facts["provider"])
            took[key][int(np.searchsorted(starts, event["ts"], "right")) - 1] += event["dur"]
    nodes = [
        {"name": name, "operator": operator, "provider": provider, "us": _middle(durations)}
        for (_, name, operator, provider), durations in took.items()
    ]
    return {"runs": runs, "run_us": _middle([event["dur"] for event in whole]), "nodes": nodes}


def _session(path: str, request: dict[str, Any]) -> Any:
    options = make_options(threads=request["threads"])
    options.enable_profiling = True
    options.profile_file_prefix = str(Path(request["feeds"]).parent / "profile")
    # What falls to the CPU is what is asked about, so here it may.
    return start_session(Path(path), options, request["provider"], request["provider_options"], fallback=True)


def _profile(session: Any) -> list[dict[str, Any]]:
    return list(json.loads(Path(session.end_profiling()).read_text(encoding="utf-8")))


def _middle(durations: list[float]) -> float:
    """Their interquartile mean: clocks tell whole microseconds, so a median would, too."""
    quarter = len(durations) // 4
    return float(np.mean(np.sort(durations)[quarter : len(durations) - quarter]))


if __name__ == "__main__":
    serve(carry_out)
