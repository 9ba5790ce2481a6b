"""The `latency` list of report.json: a pure function of the timed runs, so that saved ones can be judged again."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from foldpress.benchmark.evidence import LatencySamples
from foldpress.benchmark.intervals import quantile_samples, quantile_upper
from foldpress.benchmark.ratios import AA_CONFIDENCE, ratio_of
from foldpress.providers import CPU

QUANTILES = {"p50_ms": 0.5, "p90_ms": 0.9, "p99_ms": 0.99}
_ON_HOST = "inputs and outputs lie in host memory, where the provider computes"
_UNKNOWN_DEVICE = "inputs and outputs are bound on the devices of CUDA, TensorRT, ROCm and DirectML only"
_ONE_PROCESS = "one process shows no spread between processes; time in two or more"

Blocks = list[list[list[float]]]


def latency_rows(measured: list[LatencySamples], reference: str, confidence: float) -> list[dict[str, Any]]:
    """Quantiles, and how many times faster than `reference` each graph is, one row a graph and setting."""
    by_cell = {_cell(one): one for one in measured if one.graph == reference}
    return [_row(one, by_cell[_cell(one)], confidence) for one in measured]


def _cell(one: LatencySamples) -> tuple[str, int, int]:
    return one.provider, one.batch, one.threads


def _row(one: LatencySamples, reference: LatencySamples, confidence: float) -> dict[str, Any]:
    every = _runs(one.samples_ms)
    row: dict[str, Any] = {"provider": one.provider, "batch": one.batch, "threads": one.threads, "graph": one.graph,
                           "provider_options": one.provider_options, "processes": len(one.samples_ms),
                           **_quantiles(every)}  # fmt: skip
    row["p90_upper_ms"] = quantile_upper(every, QUANTILES["p90_ms"], confidence)
    if row["p90_upper_ms"] is None:
        row["p90_upper_ms_why"] = f"{len(every)} runs are too few for a bound"
    row |= _speedup(one.samples_ms, reference.samples_ms, confidence) | _against_itself(reference)
    figures = {"peak_rss_mb": one.peak_rss_mb, "load_ms": one.load_ms, "first_ms": one.first_ms}
    unknown = {f"{name}_why": "this system does not tell" for name, figure in figures.items() if figure is None}
    return (
        row | {"placement": one.placement} | figures | unknown | _warm_up(one) | _on_device(one, reference, confidence)
    )


def _runs(blocks: Blocks) -> NDArray[Any]:
    return np.array([run for process in blocks for block in process for run in block])


def _quantiles(every: NDArray[Any]) -> dict[str, Any]:
    row: dict[str, Any] = {"n": len(every)}
    for key, quantile in QUANTILES.items():
        needed = quantile_samples(quantile) if quantile > 0.5 else 1  # a median needs no tail
        row[key] = float(np.quantile(every, quantile)) if len(every) >= needed else None
        if row[key] is None:
            row[f"{key}_why"] = f"needs {needed} runs; there are {len(every)}"
    return row


def _speedup(blocks: Blocks, reference: Blocks, confidence: float) -> dict[str, Any]:
    row: dict[str, Any] = {"speedup": 1.0, "speedup_low": None, "speedup_high": None}
    if blocks is reference:
        return row | {"speedup_low_why": "the reference itself", "speedup_high_why": "the reference itself"}
    ratio = ratio_of(reference, blocks, confidence)
    row |= {"speedup": ratio.value, "speedup_low": ratio.low, "speedup_high": ratio.high}
    return row if ratio.low is not None else row | {"speedup_low_why": _ONE_PROCESS, "speedup_high_why": _ONE_PROCESS}


def _on_device(one: LatencySamples, reference: LatencySamples, confidence: float) -> dict[str, Any]:
    """The same figures without the copies between host and device, as `device_only`; null where nothing could be bound."""
    if one.device_ms:
        found = _quantiles(_runs(one.device_ms)) | _speedup(one.device_ms, reference.device_ms, confidence)
        return {"device_only": {"device": one.device, **found}}
    usual = _ON_HOST if one.provider == CPU else _UNKNOWN_DEVICE
    return {"device_only": None, "device_only_why": one.device_why or usual}


def _against_itself(reference: LatencySamples) -> dict[str, Any]:
    """The A/A test of this setting: `aa_ratio` and its interval, which should hold 1."""
    row: dict[str, Any] = dict.fromkeys(("aa_ratio", "aa_low", "aa_high"))
    if not reference.again_ms:
        return row | {f"{key}_why": "the baseline was not timed against itself" for key in row}
    ratio = ratio_of(reference.samples_ms, reference.again_ms, AA_CONFIDENCE)
    row = {"aa_ratio": ratio.value, "aa_low": ratio.low, "aa_high": ratio.high}
    return row if ratio.low is not None else row | {"aa_low_why": _ONE_PROCESS, "aa_high_why": _ONE_PROCESS}


def _warm_up(one: LatencySamples) -> dict[str, Any]:
    """Runs that it took until latency settled: the most that any process needed."""
    if not one.warm_up_runs:
        return {"warm_up_runs": None, "warm_up_runs_why": "it was not recorded"}
    return {"warm_up_runs": max(one.warm_up_runs)}
