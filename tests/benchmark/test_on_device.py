"""Inputs and outputs on the device: the path is the one that GPUs take, run on the only device that is everywhere, the CPU's."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest

from conftest import Invoke
from foldpress.benchmark import on_device
from foldpress.benchmark.evidence import LatencySamples
from foldpress.benchmark.html_tables import latency_table
from foldpress.benchmark.latency import measure
from foldpress.benchmark.latency_rows import latency_rows
from foldpress.benchmark.on_device import OnDevice
from foldpress.benchmark.plan import LatencyPlan
from foldpress.data import Dataset
from foldpress.runtime import open_session

CPU = "CPUExecutionProvider"
GRAPH = """<ir_version: 9, opset_import: ["" : 18]> g (float[N, 4] x, float[N, 1] b) => (float[N, 4] y, float[N, 4] z)
{ y = Relu(x) z = Add(x, b) }"""
GENERATOR = np.random.default_rng(0)
SAMPLES = Dataset({name: GENERATOR.normal(size=(40, n)).astype(np.float32) for name, n in (("x", 4), ("b", 1))})


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    onnx.save(onnx.parser.parse_model(GRAPH), tmp_path / "net.onnx")
    return tmp_path / "net.onnx"


def test_bound_runs_compute_what_the_session_computes(graph: Path) -> None:
    """Catches feeds that are taken for each other, and an output that is not bound."""
    session, feeds = open_session(graph), list(SAMPLES.batches(8))
    bound = OnDevice(session, feeds, "cpu")
    for feed in reversed(feeds):
        outputs = bound.run(None, feed)
        assert {output.device_name() for output in outputs} == {"cpu"}
        for given, wanted in zip(outputs, session.run(None, feed), strict=True):
            assert given.numpy().tolist() == wanted.tolist()


def test_they_are_timed_among_the_others(graph: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches figures lost between worker and report, and blocks that do not pair up."""
    monkeypatch.setitem(on_device.DEVICES, CPU, "cpu")
    plan = LatencyPlan(processes=2, seconds=0.4, batch=4)
    measured = measure({"a": graph, "b": graph}, SAMPLES, plan)
    for one in measured:
        assert np.shape(one.device_ms) == np.shape(one.samples_ms)
        assert np.min(one.device_ms) > 0
        assert one.device_ms != one.samples_ms
    rows = latency_rows([LatencySamples(**json.loads(json.dumps(asdict(one)))) for one in measured], "a", 0.95)
    first, second = (row["device_only"] for row in rows)
    assert first["device"] == "cpu"
    assert first["p50_ms"] == pytest.approx(np.median(measured[0].device_ms))
    assert (first["n"], first["speedup"]) == (rows[0]["n"], 1)
    assert second["speedup_low"] < second["speedup"] < second["speedup_high"]
    assert "p50 on device" in latency_table({"latency": rows}).titles


def test_what_cannot_be_bound_is_null_with_the_reason(graph: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a device that is not there, taken for a failure of the whole measurement or passed over in silence."""
    monkeypatch.setitem(on_device.DEVICES, CPU, "cuda")
    (row,) = latency_rows(measure({"a": graph}, SAMPLES, LatencyPlan(processes=1, seconds=0.1)), "a", 0.95)
    assert row["device_only"] is None
    assert "cannot bind to cuda" in row["device_only_why"]
    assert row["p50_ms"] > 0


@pytest.mark.parametrize(("provider", "said"), [(CPU, "host memory"), ("QNNExecutionProvider", "CUDA, TensorRT")])
def test_without_a_device_it_says_why(provider: str, said: str) -> None:
    """Catches a null without its reason, and the figure from host memory given out for the other."""
    blocks = [[[1.0] * 10] * 4] * 2
    one = LatencySamples(provider, 1, 1, "a", blocks, {provider: 1.0}, 1.0, 1.0, 50.0)
    row: dict[str, Any] = latency_rows([one], "a", 0.95)[0]
    assert (row["device_only"], said in row["device_only_why"]) == (None, True)


def test_bench_shows_both(graph: Path, monkeypatch: pytest.MonkeyPatch, invoke: Invoke) -> None:
    """Catches a figure that only report.json has."""
    monkeypatch.setitem(on_device.DEVICES, CPU, "cpu")
    result = invoke("bench", graph, "--processes", "1", "--seconds", "0.1", "-q")
    assert result.exit_code == 0, result.output
    assert "on the cpu device, batch 1: p50" in " ".join(result.stdout.split())
