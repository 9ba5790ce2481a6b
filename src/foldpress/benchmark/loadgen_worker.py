"""A fresh process that LoadGen drives: started by `loadgen.py`, never imported by it. Needs mlcommons-loadgen.

Usage: python -m foldpress.benchmark.loadgen_worker REQUEST.json ANSWER.json
"""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlperf_loadgen
import numpy as np

from foldpress.benchmark.processes import serve
from foldpress.sessions import make_options, start_session

_WARM_UP_RUNS = 20
_FEWEST_QUERIES = {"SingleStream": 64, "MultiStream": 662, "Server": 662, "Offline": 1}  # for p90, p99, p99, none
_MULTI_STREAM_SAMPLES = 8  # of a query, as MLPerf's rules have it
_MARK = ":::MLLOG "


def carry_out(request: dict[str, Any]) -> dict[str, Any]:
    """Everything that LoadGen notes of one run: its keys and values, as in mlperf_log_detail.txt."""
    with np.load(request["feeds"], allow_pickle=False) as archive:
        samples = {name: archive[name] for name in archive.files}
    session = start_session(
        Path(request["graph"]),
        make_options(threads=request["threads"]),
        request["provider"],
        request["provider_options"],
    )
    run = _runner(session, samples, request["batch"])
    settings = _settings(request, _typical(run, request["batch"]))
    count = len(next(iter(samples.values())))
    system = mlperf_loadgen.ConstructSUT(_answer(run), lambda: None)
    library = mlperf_loadgen.ConstructQSL(count, count, lambda _: None, lambda _: None)
    log = mlperf_loadgen.LogSettings()
    log.log_output.outdir = str(Path(request["feeds"]).parent)
    log.enable_trace = False
    mlperf_loadgen.StartTestWithLogSettings(system, library, settings, log)
    mlperf_loadgen.DestroyQSL(library)
    mlperf_loadgen.DestroySUT(system)
    return read_log(Path(log.log_output.outdir) / "mlperf_log_detail.txt")


def read_log(path: Path) -> dict[str, Any]:
    """LoadGen's detail log: one JSON document a line, behind a mark."""
    lines = path.read_text(encoding="utf-8").splitlines()
    entries = [json.loads(line.removeprefix(_MARK)) for line in lines if line.startswith(_MARK)]
    return {entry["key"]: entry["value"] for entry in entries}


def _runner(session: Any, samples: dict[str, Any], size: int) -> Callable[[list[int]], None]:
    """What runs the samples of these numbers, so many at once."""
    feeds = [
        {name: array[i : i + 1] for name, array in samples.items()} for i in range(len(next(iter(samples.values()))))
    ]

    def one_by_one(numbers: list[int]) -> None:
        for number in numbers:
            session.run(None, feeds[number])

    def in_batches(numbers: list[int]) -> None:
        for start in range(0, len(numbers), size):
            rows = numbers[start : start + size]
            rows += rows[:1] * (size - len(rows))  # a graph may take no fewer
            session.run(None, {name: array[rows] for name, array in samples.items()})

    return one_by_one if size == 1 else in_batches


def _answer(run: Callable[[list[int]], None]) -> Callable[[Any], None]:
    """The system under test: answers each query before it takes the next."""

    def answer(queries: list[Any]) -> None:
        run([query.index for query in queries])
        # No output is handed over: LoadGen only looks at them when it checks accuracy.
        mlperf_loadgen.QuerySamplesComplete([mlperf_loadgen.QuerySampleResponse(query.id, 0, 0) for query in queries])

    return answer


def _settings(request: dict[str, Any], typical: float) -> Any:
    settings = mlperf_loadgen.TestSettings()
    settings.scenario = getattr(mlperf_loadgen.TestScenario, request["scenario"])
    settings.mode = mlperf_loadgen.TestMode.PerformanceOnly
    settings.min_duration_ms = int(1000 * request["seconds"])
    settings.min_query_count = _FEWEST_QUERIES[request["scenario"]]
    settings.single_stream_expected_latency_ns = settings.multi_stream_expected_latency_ns = max(1, int(1e9 * typical))
    settings.offline_expected_qps = request["batch"] / typical
    if request["scenario"] == "MultiStream":
        settings.multi_stream_samples_per_query = _MULTI_STREAM_SAMPLES
    if request["scenario"] == "Server":
        settings.server_target_qps = request["target_qps"]
        settings.server_target_latency_ns = int(1e6 * request["max_latency_ms"])
    return settings


def _typical(run: Callable[[list[int]], None], size: int) -> float:
    """Seconds of a typical run, after a warm-up."""
    took = []
    for _ in range(2 * _WARM_UP_RUNS):
        start = time.perf_counter()
        run([0] * size)
        took.append(time.perf_counter() - start)
    return float(np.median(took[_WARM_UP_RUNS:]))


if __name__ == "__main__":
    serve(carry_out)
