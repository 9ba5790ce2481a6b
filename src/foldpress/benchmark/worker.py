"""A fresh process that loads graphs and times them: started by `latency.py`, never imported by it.

Usage: python -m foldpress.benchmark.worker REQUEST.json ANSWER.json
"""

import random
import time
from pathlib import Path
from typing import Any

import numpy as np

from foldpress.benchmark.on_device import OnDevice
from foldpress.benchmark.processes import serve
from foldpress.sessions import ORT_ERRORS, make_options, placement, start_session

_BLOCK = 10  # consecutive runs of one graph before another takes its turn
_ROUNDS = (8, 40)  # fewer pairs of blocks make no interval; more make it no narrower than the processes differ
_WARM_UP_RUNS, _WARM_UP_SECONDS = 3, 0.1
_ON_DEVICE = "\n"  # behind a name: no graph's ends so
_SETTLED = 1.05  # times the typical run: what varies less is the machine's own unrest


def carry_out(spec: dict[str, Any]) -> dict[str, Any]:
    """For each graph: load and first time, placement, peak memory; and, where `seconds` are given, timed runs."""
    with np.load(spec["feeds"], allow_pickle=False) as archive:
        feeds = batches({name: archive[name] for name in archive.files}, spec["batch"])
    # Which graph is loaded first decides where it lies in memory: that must not favor one of them in every process.
    names = random.Random(spec["seed"]).sample(sorted(spec["graphs"]), len(spec["graphs"]))  # noqa: S311  # no secret
    loaded = {name: _load(spec["graphs"][name], spec, feeds[0]) for name in names}
    result = {name: entry["facts"] for name, entry in loaded.items()}
    if spec["seconds"] > 0:
        sessions = {name: entry["session"] for name, entry in loaded.items()}
        bound, unbound = _bound(sessions, feeds, spec)
        found = timed(sessions | bound, feeds, spec["seconds"], spec["seed"])
        for name in sessions:
            result[name] |= found[name] | unbound
            if name + _ON_DEVICE in found:
                result[name]["device_ms"] = found[name + _ON_DEVICE]["blocks_ms"]
    peak = _peak_rss_mb()
    for facts in result.values():
        facts["peak_rss_mb"] = peak
    return result


def batches(arrays: dict[str, Any], size: int) -> list[dict[str, Any]]:
    """Samples as feeds of one batch each."""
    count = len(next(iter(arrays.values()))) // size
    return [{name: array[i * size : (i + 1) * size] for name, array in arrays.items()} for i in range(count)]


def _bound(sessions: dict[str, Any], feeds: list[dict[str, Any]], spec: dict[str, Any]) -> tuple[dict[str, Any], Any]:
    """The same sessions with inputs and outputs on the device, where there is one; or why they cannot be."""
    if spec.get("device") is None:
        return {}, {}
    device_id = int(spec["provider_options"].get("device_id", 0))
    try:
        return {
            name + _ON_DEVICE: OnDevice(session, feeds, spec["device"], device_id) for name, session in sessions.items()
        }, {}
    except (*ORT_ERRORS, RuntimeError) as error:
        return {}, {"device_why": f"onnxruntime cannot bind to {spec['device']}: {str(error).splitlines()[0]}"}


def _load(path: str, spec: dict[str, Any], feed: dict[str, Any]) -> dict[str, Any]:
    start = time.perf_counter()
    session = start_session(
        Path(path), make_options(threads=spec["threads"]), spec["provider"], spec["provider_options"]
    )
    loaded = time.perf_counter()
    session.run(None, feed)
    done = time.perf_counter()
    facts = {
        "load_ms": 1e3 * (loaded - start),
        "first_ms": 1e3 * (done - loaded),
        "placement": placement(session),
    }
    return {"session": session, "facts": facts}


def timed(
    sessions: dict[str, Any], feeds: list[dict[str, Any]], seconds: float, seed: int
) -> dict[str, dict[str, Any]]:
    """`blocks_ms` [round][run] of each graph, taking turns in an order drawn anew for each round; and `warm_up_runs`."""
    warm_ups = {name: _warm_up(session, feeds) for name, session in sessions.items()}
    # The lower quartile: a warm-up that other work disturbs must not leave the process with few rounds.
    typical = sum(float(np.quantile(took, 0.25)) for took in warm_ups.values()) / 1e3
    runs = max(1, min(_BLOCK, int(seconds / (_ROUNDS[0] * typical))))
    rounds = int(np.clip(seconds / (runs * typical), *_ROUNDS))
    order = random.Random(seed)  # noqa: S311  # an order of turns, not a secret
    blocks: dict[str, list[list[float]]] = {name: [] for name in sessions}
    for turn in range(rounds):
        for name in order.sample(sorted(sessions), len(sessions)):
            first = turn * runs
            blocks[name].append([_timed(sessions[name], feeds[(first + i) % len(feeds)]) for i in range(runs)])
    return {name: {"blocks_ms": blocks[name], "warm_up_runs": _settled_after(warm_ups[name])} for name in sessions}


def _warm_up(session: Any, feeds: list[dict[str, Any]]) -> list[float]:
    """Milliseconds of each run, until there were enough of them that caches and clocks have settled."""
    took: list[float] = []
    end = time.perf_counter() + _WARM_UP_SECONDS
    while len(took) < _WARM_UP_RUNS or time.perf_counter() < end:
        took.append(_timed(session, feeds[len(took) % len(feeds)]))
    return took


def _settled_after(took: list[float]) -> int:
    """How many runs came before the first that was no slower than a typical one of the second half."""
    typical = float(np.median(took[len(took) // 2 :]))
    return next(i for i, one in enumerate(took) if one <= _SETTLED * typical)


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
    serve(carry_out)
