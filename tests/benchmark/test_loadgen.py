"""MLPerf's scenarios: what goes together, the extra that is named, and figures read from LoadGen's own log."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest

from conftest import Invoke
from foldpress.benchmark import loadgen
from foldpress.benchmark.loadgen import run_scenario
from foldpress.benchmark.plan import LatencyPlan
from foldpress.data import Dataset
from foldpress.errors import MissingExtraError, RequestError

SAMPLES = Dataset({"x": np.ones((64, 4), np.float32)})
SERVER: dict[str, Any] = {"target_qps": 200.0, "max_latency_ms": 1000.0}
PLAN = LatencyPlan(seconds=0.2)


@pytest.fixture
def graphs(tmp_path: Path) -> dict[str, Path]:
    text = """<ir_version: 9, opset_import: ["" : 18]> g (float[N, 4] x) => (float[N, 4] y) { y = Relu(x) }"""
    onnx.save(onnx.parser.parse_model(text), tmp_path / "net.onnx")
    return {"net": tmp_path / "net.onnx"}


def test_without_the_package_the_extra_is_named(graphs: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches an ImportError for a traceback, or a scenario that is timed by something else."""
    monkeypatch.setattr(loadgen.importlib.util, "find_spec", lambda name: None)  # type: ignore[attr-defined]
    with pytest.raises(MissingExtraError, match=r"mlcommons-loadgen(?s:.)*foldpress\[mlperf\]"):
        run_scenario("SingleStream", graphs, SAMPLES, PLAN)


def test_the_command_shows_what_loadgen_found(
    graphs: dict[str, Path], monkeypatch: pytest.MonkeyPatch, invoke: Invoke
) -> None:
    """Catches an option that never reaches LoadGen, and a missing package that is no wrong request."""
    asked: list[Any] = []

    def work(_module: str, request: dict[str, Any], _folder: Path) -> dict[str, Any]:
        asked.append((request["scenario"], request["seconds"], request["target_qps"], request["max_latency_ms"]))
        figures = {f"result_{share}_percentile_latency_ns": 2e6 for share in ("50.00", "90.00", "99.00")}
        return figures | {
            "result_query_count": 1000,
            "result_validity": "VALID",
            "result_scheduled_samples_per_sec": 9.0,
        }

    monkeypatch.setattr(loadgen.importlib.util, "find_spec", lambda name: name)  # type: ignore[attr-defined]
    monkeypatch.setattr(loadgen, "work", work)
    options = ["--scenario", "Server", "--target-qps", 50, "--max-latency-ms", 5, "--seconds", 3]
    shown = invoke("bench", graphs["net"], *options)
    assert "2.00 ms" in shown.stdout
    (row,) = json.loads(invoke("bench", graphs["net"], *options, "--json").stdout)
    assert (row["p99_ms"], row["samples_per_second"], row["valid"]) == (2.0, 9.0, True)
    assert asked == [("Server", 3.0, 50.0, 5.0)] * 2
    monkeypatch.setattr(loadgen.importlib.util, "find_spec", lambda name: None)  # type: ignore[attr-defined]
    refused = invoke("bench", graphs["net"], "--scenario", "Offline")
    assert (refused.exit_code, "foldpress[mlperf]" in refused.stderr) == (2, True)


@pytest.mark.parametrize(
    ("scenario", "batch", "given", "told"),
    [
        ("Server", 1, {}, "do not go together"),
        ("Server", 1, {"target_qps": 5.0}, "do not go together"),
        ("Offline", 8, SERVER, "do not go together"),
        ("SingleStream", 8, {}, "one sample at a time, not 8"),
        ("Streams", 1, {}, "there is no scenario 'Streams'"),
    ],
)
def test_what_does_not_go_together_is_refused(
    scenario: Any, batch: int, given: dict[str, Any], told: str, graphs: dict[str, Path]
) -> None:
    """Catches an option without effect, and a rate of arrival that nobody asked for."""
    with pytest.raises(RequestError, match=told):
        run_scenario(scenario, graphs, SAMPLES, LatencyPlan(batch=batch), **given)


def test_figures_are_loadgens_own(graphs: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches nanoseconds taken for milliseconds, a p99 of too few queries, and an invalid run told as a result."""
    found = {
        f"result_{share}_percentile_latency_ns": 1_000_000 * int(share[:2]) for share in ("50.00", "90.00", "99.00")
    }
    found |= {"result_query_count": 100, "effective_min_sample_count": 64, "result_qps_without_loadgen_overhead": 7.5}  # type: ignore[dict-item]
    found |= {"result_validity": "INVALID", "result_invalid_reason": "too short"}  # type: ignore[dict-item]
    monkeypatch.setattr(loadgen, "work", lambda *_: found)
    monkeypatch.setattr(loadgen, "_check", lambda *_: None)
    (row,) = run_scenario("SingleStream", graphs, SAMPLES, PLAN)
    assert (row["p50_ms"], row["p90_ms"], row["p99_ms"]) == (50.0, 90.0, None)
    assert row["p99_ms_why"] == "needs 662 queries"
    assert (row["n"], row["samples_per_second"], row["valid"], row["valid_why"]) == (100, 7.5, False, "too short")


@pytest.mark.skipif(importlib.util.find_spec("mlperf_loadgen") is None, reason="mlcommons-loadgen is not installed")
@pytest.mark.parametrize(
    ("scenario", "batch", "given", "percentiles", "least"),
    [("SingleStream", 1, {}, True, 64), ("MultiStream", 4, {}, True, 662), ("Server", 1, SERVER, True, 1),
     ("Offline", 16, {}, False, 64)],
)  # fmt: skip
def test_loadgen_runs_every_scenario(
    scenario: Any, batch: int, given: dict[str, Any], percentiles: bool, least: int, graphs: dict[str, Path]
) -> None:
    """Catches a scenario that LoadGen refuses, queries that are never answered, and figures under another name."""
    (row,) = run_scenario(scenario, graphs, SAMPLES, LatencyPlan(seconds=0.2, batch=batch), **given)
    assert row["n"] >= least
    assert (row["p50_ms"] is not None) == percentiles
    assert row["samples_per_second"] is not None or scenario == "MultiStream"
    for key in ("p50_ms", "p90_ms", "p99_ms", "samples_per_second"):
        assert row[key] is None or row[key] > 0
        assert row[key] is not None or row[f"{key}_why"]
