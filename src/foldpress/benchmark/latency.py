"""Latency that can be compared: interleaved blocks, in several fresh processes, on real samples.

Two identical models timed one after the other differ by 7 %; in interleaved blocks by 1 %. One process's own interval
is narrower than the difference between processes, so several are run and the processes are resampled too.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foldpress.benchmark.evidence import LatencySamples
from foldpress.benchmark.intervals import quantile_samples, quantile_upper, ratio_interval
from foldpress.data import Dataset
from foldpress.errors import FoldpressError, RequestError
from foldpress.graph import input_specs, load_graph
from foldpress.progress import track
from foldpress.runtime import check_provider

_FEEDS = 8  # different batches that the runs cycle through
_TIMEOUT_SECONDS = 600
_QUANTILES = {"p50_ms": 0.5, "p90_ms": 0.9, "p99_ms": 0.99}


@dataclass(frozen=True)
class LatencyPlan:
    """One cell of the grid. `seconds` is spent timing, over all processes together."""

    provider: str = "CPUExecutionProvider"
    batch: int = 1
    threads: int = 1
    processes: int = 5
    seconds: float = 10.0
    seed: int = 0


def measure(graphs: Mapping[str, Path], dataset: Dataset, plan: LatencyPlan) -> list[LatencySamples]:
    """Time several graphs against each other; the result has one entry for each, in order.

    Raises:
        ProviderError: the provider is absent, or cannot run a graph.
        RequestError: fewer samples than the batch size, or a graph that is fixed to another one.
        FoldpressError: a worker process died or took too long.
    """
    with _prepared(graphs, dataset, plan) as work:
        label = f"timing at batch {plan.batch} on {plan.provider}"
        steps = [*([name] for name in graphs), *[list(graphs)] * plan.processes]
        answers: list[dict[str, Any]] = []
        for seed, names in enumerate(track(steps, label, len(steps))):
            timed = plan.seconds / plan.processes if len(answers) >= len(graphs) else 0.0
            answers.append(work(names, timed, plan.seed + seed))
    alone, together = answers[: len(graphs)], answers[len(graphs) :]
    return [_collected(name, plan, probe[name], together) for name, probe in zip(graphs, alone, strict=True)]


def block_medians(graphs: Mapping[str, Path], dataset: Dataset, plan: LatencyPlan) -> dict[str, list[NDArray[Any]]]:
    """Milliseconds of each graph, [rounds] for each process: the same place of two graphs was timed at about the same time.

    Nothing but the time is measured, so that many small graphs can be compared in one process.

    Raises:
        FoldpressError: as for `measure`.
    """
    with _prepared(graphs, dataset, plan) as work:
        seeds = track(range(plan.processes), f"timing {len(graphs)} graphs at batch {plan.batch}", plan.processes)
        answers = [work(list(graphs), plan.seconds / plan.processes, plan.seed + seed) for seed in seeds]
    return {name: [np.median(answer[name]["blocks_ms"], axis=1) for answer in answers] for name in graphs}


@contextmanager
def _prepared(
    graphs: Mapping[str, Path], dataset: Dataset, plan: LatencyPlan
) -> Iterator[Callable[[list[str], float, int], dict[str, Any]]]:
    """What times some of the graphs for some seconds with a seed, in a fresh process."""
    check_provider(plan.provider)
    if len(dataset) < plan.batch:
        raise RequestError(f"batch {plan.batch} needs as many samples; there are {len(dataset)}")
    for name, path in graphs.items():
        fixed = {spec.shape[0] for spec in input_specs(load_graph(path))} - {None, plan.batch}
        if fixed:
            raise RequestError(
                f"{name} takes exactly {fixed} samples at once, not {plan.batch}", mend="another batch size"
            )
    with tempfile.TemporaryDirectory(prefix="foldpress.") as folder:
        feeds = Path(folder) / "feeds.npz"
        wanted = min(_FEEDS, len(dataset) // plan.batch) * plan.batch
        np.savez(feeds, **dataset.batch(slice(0, wanted)))  # type: ignore[arg-type]  # names are free

        def work(names: list[str], seconds: float, seed: int) -> dict[str, Any]:
            chosen = {name: str(Path(graphs[name]).resolve()) for name in names}
            spec = {"graphs": chosen, "feeds": str(feeds), "batch": plan.batch, "provider": plan.provider,
                    "threads": plan.threads, "seconds": seconds, "seed": seed}  # fmt: skip
            return _work(spec, Path(folder))

        yield work


def latency_rows(measured: list[LatencySamples], reference: str, confidence: float) -> list[dict[str, Any]]:
    """The `latency` list of report.json: quantiles, and how many times faster than `reference` each graph is."""
    by_cell = {(one.provider, one.batch, one.threads): one for one in measured if one.graph == reference}
    return [_row(one, by_cell[one.provider, one.batch, one.threads], confidence) for one in measured]


def synthetic_feed(specs: list[Any], batch: int) -> Dataset:
    """Random samples by shape, for timing graphs without data; they say nothing about accuracy.

    Raises:
        RequestError: a shape is not known.
    """
    generator = np.random.default_rng(0)
    inputs: dict[str, NDArray[Any]] = {}
    for spec in specs:
        if None in spec.shape[1:]:
            raise RequestError(
                f"the shape of input {spec} is not fixed, so none can be made up", mend="give real samples: --data D"
            )
        values = generator.standard_normal((batch * _FEEDS, *spec.shape[1:]))
        inputs[spec.name] = np.abs(values).astype(spec.dtype) if spec.dtype.kind in "iub" else values.astype(spec.dtype)
    return Dataset(inputs)


def _collected(name: str, plan: LatencyPlan, probe: dict[str, Any], together: list[dict[str, Any]]) -> LatencySamples:
    return LatencySamples(
        provider=plan.provider,
        batch=plan.batch,
        threads=plan.threads,
        graph=name,
        samples_ms=[answer[name]["blocks_ms"] for answer in together],
        placement=probe["placement"],
        load_ms=probe["load_ms"],
        first_ms=probe["first_ms"],
        peak_rss_mb=probe["peak_rss_mb"],
    )


def _work(spec: dict[str, Any], folder: Path) -> dict[str, Any]:
    request, answer = folder / "spec.json", folder / "result.json"
    request.write_text(json.dumps(spec), encoding="utf-8")
    command = [sys.executable, "-P", "-m", "foldpress.benchmark.worker", str(request), str(answer)]
    environment = {**os.environ, "ORT_DISABLE_TELEMETRY": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, env=environment, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise FoldpressError(
            f"timing took longer than {_TIMEOUT_SECONDS} s", mend="fewer graphs, or a smaller batch"
        ) from error
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise FoldpressError(f"the timing process ended with {done.returncode}: {last}")
    return dict(json.loads(answer.read_text(encoding="utf-8")))


def _row(one: LatencySamples, reference: LatencySamples, confidence: float) -> dict[str, Any]:
    every = np.array([run for process in one.samples_ms for block in process for run in block])
    row: dict[str, Any] = {"provider": one.provider, "batch": one.batch, "threads": one.threads, "graph": one.graph,
                           "n": len(every)}  # fmt: skip
    for key, quantile in _QUANTILES.items():
        needed = quantile_samples(quantile) if quantile > 0.5 else 1  # a median needs no tail
        row[key] = float(np.quantile(every, quantile)) if len(every) >= needed else None
        if row[key] is None:
            row[f"{key}_why"] = f"needs {needed} runs; there are {len(every)}"
    row["p90_upper_ms"] = quantile_upper(every, _QUANTILES["p90_ms"], confidence)
    if row["p90_upper_ms"] is None:
        row["p90_upper_ms_why"] = f"{len(every)} runs are too few for a bound"
    row |= {"speedup": 1.0, "speedup_low": None, "speedup_high": None}
    if one is reference:
        row["speedup_low_why"] = row["speedup_high_why"] = "the reference itself"
    else:
        row["speedup"], row["speedup_low"], row["speedup_high"] = ratio_interval(
            _log_ratios(reference, one), confidence
        )
    figures = {"peak_rss_mb": one.peak_rss_mb, "load_ms": one.load_ms, "first_ms": one.first_ms}
    unknown = {f"{name}_why": "this system does not tell" for name, figure in figures.items() if figure is None}
    return row | {"placement": one.placement} | figures | unknown


def _log_ratios(reference: LatencySamples, one: LatencySamples) -> list[NDArray[np.float64]]:
    """Paired log-ratios of block medians, for each process."""
    pairs = zip(reference.samples_ms, one.samples_ms, strict=True)
    return [np.log(np.median(base, axis=1) / np.median(mine, axis=1)) for base, mine in pairs]
