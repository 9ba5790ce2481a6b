"""MLPerf's inference scenarios, driven by its own LoadGen (V. J. Reddi et al., MLPerf Inference Benchmark, ISCA 2020).

SingleStream: one sample after the other; p90 of their latency. MultiStream: queries of eight samples; p99 of the queries.
Server: samples arrive at random, at a given rate; p99 must stay within a bound. Offline: all samples at once; samples a
second. The runs are as long as is asked for, not as long as MLPerf's rules want: no submission comes out of this.
"""

import importlib.util
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from foldpress.benchmark.intervals import quantile_samples
from foldpress.benchmark.latency import check_request, save_feeds
from foldpress.benchmark.latency_rows import QUANTILES
from foldpress.benchmark.plan import LatencyPlan, Scenario
from foldpress.benchmark.processes import work
from foldpress.data import Dataset
from foldpress.errors import MissingExtraError, RequestError, choose_from
from foldpress.progress import track

_WORKER = "foldpress.benchmark.loadgen_worker"
_TOGETHER = {"SingleStream": False, "MultiStream": True, "Server": False, "Offline": True}  # samples of a batch
_RATES = ("result_samples_per_second", "result_scheduled_samples_per_sec", "result_completed_samples_per_sec",
          "result_qps_without_loadgen_overhead")  # fmt: skip


def run_scenario(
    scenario: Scenario,
    graphs: Mapping[str, Path],
    dataset: Dataset,
    plan: LatencyPlan,
    *,
    target_qps: float | None = None,
    max_latency_ms: float | None = None,
) -> list[dict[str, Any]]:
    """One row a graph, each in a fresh process, one after the other: they are not for comparing graphs.

    Args:
        scenario: as MLPerf names it.
        graphs: .onnx files by name.
        dataset: samples that LoadGen draws from.
        plan: where to run; its batch is how many samples MultiStream and Offline run at once, its seconds are LoadGen's least.
        target_qps: Server alone: samples a second that arrive.
        max_latency_ms: Server alone: what p99 must stay within.

    Raises:
        MissingExtraError: mlcommons-loadgen is not installed.
        RequestError: options that do not go with the scenario, or samples that do not fit.
    """
    _check(scenario, plan, target_qps, max_latency_ms)
    check_request(graphs, dataset, plan)
    rows = []
    with tempfile.TemporaryDirectory(prefix="foldpress.") as name:
        request = {
            "feeds": str(save_feeds(dataset, plan.batch, Path(name))), "batch": plan.batch, "threads": plan.threads,
            "provider": plan.provider, "provider_options": dict(plan.provider_options), "seconds": plan.seconds,
            "scenario": scenario, "target_qps": target_qps, "max_latency_ms": max_latency_ms,
        }  # fmt: skip
        for graph, path in track(graphs.items(), f"LoadGen's {scenario}", len(graphs)):
            found = work(_WORKER, {**request, "graph": str(Path(path).resolve())}, Path(name))
            rows.append({"graph": graph} | _row(found, scenario, plan))
    return rows


def _check(scenario: str, plan: LatencyPlan, target_qps: float | None, max_latency_ms: float | None) -> None:
    choose_from(get_args(Scenario), scenario, "there is no scenario")
    if (scenario == "Server") != (target_qps is not None and max_latency_ms is not None):
        raise RequestError(
            f"{scenario} and what is given for Server do not go together",
            mend="--target-qps and --max-latency-ms go with --scenario Server, both of them, and with no other",
        )
    if not _TOGETHER[scenario] and plan.batch > 1:
        raise RequestError(
            f"{scenario} runs one sample at a time, not {plan.batch}",
            mend="a batch size goes with MultiStream or Offline",
        )
    if importlib.util.find_spec("mlperf_loadgen") is None:
        raise MissingExtraError("mlcommons-loadgen", f"--scenario {scenario}", "mlperf")


def _row(found: Mapping[str, Any], scenario: str, plan: LatencyPlan) -> dict[str, Any]:
    """What LoadGen found, under our names; a figure that this scenario does not have is null."""
    offline = scenario == "Offline"  # one query of all samples, which has no percentiles
    count = int(found["effective_min_sample_count"] if offline else found["result_query_count"])
    row: dict[str, Any] = {"scenario": scenario, "provider": plan.provider, "batch": plan.batch, "threads": plan.threads,
                           "provider_options": dict(plan.provider_options), "n": count}  # fmt: skip
    for key, quantile in QUANTILES.items():
        needed = quantile_samples(quantile) if quantile > 0.5 else 1
        kind = "per_query_latency" if scenario == "MultiStream" else "latency"
        known = not offline and count >= needed
        row[key] = found[f"result_{100 * quantile:.2f}_percentile_{kind}_ns"] / 1e6 if known else None
        row |= {} if known else {f"{key}_why": "all samples are one query" if offline else f"needs {needed} queries"}
    rate = next((found[key] for key in _RATES if key in found), None)
    row |= {"samples_per_second": rate, "valid": found["result_validity"] == "VALID"}
    row |= {} if rate is not None else {"samples_per_second_why": f"LoadGen gives none for {scenario}"}
    return row if row["valid"] else row | {"valid_why": found.get("result_invalid_reason") or "LoadGen gives no reason"}
