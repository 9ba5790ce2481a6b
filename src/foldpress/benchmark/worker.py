"""A fresh process that loads graphs and times them: started by `latency.py`, never imported by it.

Usage: python -m foldpress.benchmark.worker SPEC.json RESULT.json
"""

import json
import random
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from foldpress.runtime import open_session, placement

_BLOCK = 10  # consecutive runs of one graph before another takes its turn
_ROUNDS = (8, 40)  # fewer pairs of blocks make no interval; more make it no narrower than the processes differ
_WARM_UP_RUNS, _WARM_UP_SECONDS = 3, 0.1


def main(spec_path: str, result_path: str) -> None:
    """Carry out one specification and write the result."""
    spec = json.loads(Path(spec_path).read_text(encoding="utf-8"))
    with np.load(spec["feeds"], allow_pickle=False) as archive:
        feeds = _batches({name: archive[name] for name in archive.files}, spec["batch"])
    loaded = {name: _load(path, spec, feeds[0]) for name, path in spec["graphs"].items()}
    result = {name: entry["facts"] for name, entry in loaded.items()}
    if spec["seconds"] > 0:
        sessions = {name: entry["session"] for name, entry in loaded.items()}
        for name, blocks in _interleaved(sessions, feeds, spec["seconds"], spec["seed"]).items():
            result[name]["blocks_ms"] = blocks
    peak = _peak_rss_mb()
    for facts in result.values():
        facts["peak_rss_mb"] = peak
    Path(result_path).write_text(json.dumps(result), encoding="utf-8")


def _batches(arrays: dict[str, Any], size: int) -> list[dict[str, Any]]:
    count = len(next(iter(arrays.values()))) // size
    return [{name: array[i * size : (i + 1) * size] for name, array in arrays.items()} for i in range(count)]


def _load(path: str, spec: dict[str, Any], feed: dict[str, Any]) -> dict[str, Any]:
    start = time.perf_counter()
    session = open_session(Path(path), provider=spec["provider"], threads=spec["threads"])
    loaded = time.perf_counter()
    session.run(None, feed)
    done = time.perf_counter()
    facts = {
        "load_ms": 1e3 * (loaded - start),
        "first_ms": 1e3 * (done - loaded),
        "placement": placement(session),
    }
    return {"session": session, "facts": facts}


def _interleaved(
    sessions: dict[str, Any], feeds: list[dict[str, Any]], seconds: float, seed: int
) -> dict[str, list[list[float]]]:
    """Blocks of consecutive runs, in milliseconds, the graphs taking turns in an order drawn anew for each round."""
    typical = sum(_warm_up(session, feeds) for session in sessions.values())
    runs = max(1, min(_BLOCK, int(seconds / (_ROUNDS[0] * typical))))
    rounds = int(np.clip(seconds / (runs * typical), *_ROUNDS))
    order = random.Random(seed)  # noqa: S311  # an order of turns, not a secret
    blocks: dict[str, list[list[float]]] = {name: [] for name in sessions}
    for turn in range(rounds):
        for name in order.sample(sorted(sessions), len(sessions)):
            first = turn * runs
            blocks[name].append([_timed(sessions[name], feeds[(first + i) % len(feeds)]) for i in range(runs)])
    return blocks


def _warm_up(session: Any, feeds: list[dict[str, Any]]) -> float:
    """Seconds of a typical run, after enough of them that caches and clocks have settled."""
    took: list[float] = []
    end = time.perf_counter() + _WARM_UP_SECONDS
    while len(took) < _WARM_UP_RUNS or time.perf_counter() < end:
        took.append(_timed(session, feeds[len(took) % len(feeds)]))
    return float(np.median(took)) / 1e3


def _timed(session: Any, feed: dict[str, Any]) -> float:
    start = time.perf_counter()
    session.run(None, feed)
    return 1e3 * (time.perf_counter() - start)


def _peak_rss_mb() -> float | None:
    """The most memory this process ever held, in MB. Unlike ru_maxrss, VmHWM is not inherited from the parent."""
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    line = next(line for line in status.read_text(encoding="utf-8").splitlines() if line.startswith("VmHWM"))
    return float(line.split()[1]) * 1024 / 1e6


if __name__ == "__main__":
    main(*sys.argv[1:])
