"""Latency: what the rows say of raw samples, and that workers are fresh, interleaved and send nothing."""

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest

from foldpress.benchmark import worker
from foldpress.benchmark.evidence import LatencySamples
from foldpress.benchmark.latency import measure, synthetic_feed
from foldpress.benchmark.latency_rows import latency_rows
from foldpress.benchmark.plan import LatencyPlan
from foldpress.data import Dataset, InputSpec
from foldpress.errors import FoldpressError, ProviderError, RequestError

CPU = "CPUExecutionProvider"
GRAPH = """<ir_version: 9, opset_import: ["" : 18]> g (float[N, 4] x) => (float[N, 4] y) { y = Relu(x) }"""
SAMPLES = Dataset({"x": np.zeros((40, 4), np.float32)})
UNMEASURED = LatencySamples(CPU, 1, 1, "base", [], {CPU: 1.0}, 1.0, 1.0, 50.0)


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    onnx.save(onnx.parser.parse_model(GRAPH), tmp_path / "net.onnx")
    return tmp_path / "net.onnx"


def samples(runs: int, typical: float = 1.0, graph: str = "base", batch: int = 1) -> LatencySamples:
    """So many runs in each of two processes, in blocks of ten."""
    generator = np.random.default_rng(runs)
    blocks = typical * (1 + 0.01 * generator.random((2, runs // 20, 10)))
    return replace(UNMEASURED, graph=graph, batch=batch, samples_ms=blocks.tolist())


@pytest.mark.parametrize(
    ("runs", "known"),
    [(60, ["p50_ms"]), (80, ["p50_ms", "p90_ms"]), (660, ["p50_ms", "p90_ms"]), (680, ["p50_ms", "p90_ms", "p99_ms"])],
)
def test_quantiles_only_of_enough_runs(runs: int, known: list[str]) -> None:
    """Catches a p99 of a hundred runs; and a null without its reason."""
    (row,) = latency_rows([samples(runs)], "base", 0.95)
    every = np.ravel(samples(runs).samples_ms)
    assert row["n"] == runs
    for name, share in (("p50_ms", 0.5), ("p90_ms", 0.9), ("p99_ms", 0.99)):
        if name in known:
            assert row[name] == pytest.approx(np.quantile(every, share))
        else:
            assert row[name] is None
            assert f"there are {runs}" in row[f"{name}_why"]


def test_speedup_is_reference_over_graph() -> None:
    """Catches the ratio upside down, and a graph compared with the reference of another batch size."""
    measured = [samples(200), samples(200, 0.5, "small"), samples(200, 8.0, batch=32), samples(200, 2.0, "small", 32)]
    rows = latency_rows(measured, "base", 0.95)
    assert [round(row["speedup"], 6) for row in rows] == [1, 2, 1, 4]
    assert all(row["speedup_low"] <= row["speedup"] <= row["speedup_high"] for row in rows[1::2])
    assert (rows[0]["speedup_low"], rows[0]["speedup_low_why"]) == (None, "the reference itself")


def test_speedup_pairs_blocks_of_the_same_moment() -> None:
    """Catches unpaired blocks: a machine that slows down for both graphs alike must not widen the interval."""
    moments = np.linspace(1, 5, 40)[None, :, None] * np.ones((2, 1, 10))
    both = [
        replace(UNMEASURED, graph=name, samples_ms=(moments * cost).tolist())
        for name, cost in (("base", 3.0), ("small", 2.0))
    ]
    row = latency_rows(both, "base", 0.95)[1]
    assert (row["speedup_low"], row["speedup_high"]) == (pytest.approx(1.5), pytest.approx(1.5))


def test_measures_in_fresh_processes(graph: Path) -> None:
    """Catches figures lost between worker and report, and graphs that share a process where memory is taken."""
    plan = LatencyPlan(processes=2, seconds=0.1, batch=4)
    base, other = measure({"a": graph, "b": graph}, SAMPLES, plan)
    assert [(one.graph, one.batch, len(one.samples_ms)) for one in (base, other)] == [("a", 4, 2), ("b", 4, 2)]
    assert np.shape(base.samples_ms[0]) == np.shape(other.samples_ms[0])
    assert all(run > 0 for process in base.samples_ms for block in process for run in block)
    assert np.shape(base.again_ms) == np.shape(base.samples_ms)
    assert base.again_ms != base.samples_ms
    assert not other.again_ms
    assert [len(one.warm_up_runs) for one in (base, other)] == [2, 2]
    assert base.placement == {CPU: 1.0}
    assert min(base.load_ms or 0, base.first_ms or 0, base.peak_rss_mb or 0) > 0


def test_worker_never_reports_home(graph: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a worker started without ORT_DISABLE_TELEMETRY, even where the parent's environment lost it."""
    seen: list[dict[str, str]] = []

    def start(command: list[str], **options: Any) -> Any:
        seen.append(options["env"])
        facts = {
            "blocks_ms": [[1.0]],
            "placement": {},
            "load_ms": 1.0,
            "first_ms": 1.0,
            "peak_rss_mb": 1.0,
            "warm_up_runs": 1,
        }
        Path(command[-1]).write_text(json.dumps({"answer": {"a": facts, "": facts}}))
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.delenv("ORT_DISABLE_TELEMETRY")
    monkeypatch.setattr(subprocess, "run", start)
    measure({"a": graph}, SAMPLES, LatencyPlan(processes=1))
    assert [environment["ORT_DISABLE_TELEMETRY"] for environment in seen] == ["1", "1"]


def test_what_cannot_be_timed_is_refused(graph: Path) -> None:
    """Catches a batch larger than the data (an empty feed), and a provider that would fall back."""
    with pytest.raises(RequestError, match="batch 41 needs as many samples; there are 40"):
        measure({"a": graph}, SAMPLES, LatencyPlan(batch=41))
    with pytest.raises(ProviderError):
        measure({"a": graph}, SAMPLES, LatencyPlan(provider="CUDAExecutionProvider"))


def test_a_fixed_batch_is_refused_before_anything_is_timed(tmp_path: Path) -> None:
    """Catches a wrong request told as a broken job, after the timing of other graphs."""
    onnx.save(onnx.parser.parse_model(GRAPH.replace("N, ", "1, ")), tmp_path / "one.onnx")
    with pytest.raises(RequestError, match=r"one takes exactly \{1\} samples at once, not 8"):
        measure({"one": tmp_path / "one.onnx"}, SAMPLES, LatencyPlan(batch=8))


def test_a_worker_that_dies_is_an_error(graph: Path) -> None:
    """Catches a failed worker whose absence would read as no latency."""
    with pytest.raises(FoldpressError, match="the timing process ended with 1: .*Error"):
        measure({"a": graph}, Dataset({"other": np.zeros((4, 4), np.float32)}), LatencyPlan(processes=1))


def test_turns_are_drawn_anew_and_blocks_pair_up() -> None:
    """Catches graphs timed one after the other, which differ by 7 % even when they are the same."""
    turns: list[str] = []

    class Session:
        def __init__(self, name: str) -> None:
            self.name = name

        def run(self, _outputs: None, _feed: dict[str, Any]) -> None:
            turns.append(self.name)

    monkey_sessions = {name: Session(name) for name in ("a", "b")}
    feeds = [{"x": np.zeros(1)}]
    facts = worker.timed(monkey_sessions, feeds, seconds=0.01, seed=0)
    blocks = {name: one["blocks_ms"] for name, one in facts.items()}
    assert len(blocks["a"]) == len(blocks["b"]) == 40
    assert {len(block) for block in (*blocks["a"], *blocks["b"])} == {10}
    timed = turns[-800:]
    firsts = timed[::20]
    assert {"a", "b"} == set(firsts)
    assert all(sorted(timed[i : i + 20]) == ["a"] * 10 + ["b"] * 10 for i in range(0, 800, 20))


def test_warm_up_ends_where_runs_are_as_fast_as_later_ones() -> None:
    """Catches a fixed count of warm-up runs reported as if it had been measured."""
    assert worker._settled_after([9.0, 3.0, 1.3, 1.04, 1.0, 1.0, 1.1, 1.0, 1.0, 1.02]) == 3
    assert worker._settled_after([1.0, 1.0, 1.0]) == 0


def test_processes_are_added_until_intervals_are_narrow(graph: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches stopping while an interval is wide, going on when all are narrow, and going on when the time is up."""
    started: list[int] = []

    def work(_module: str, request: dict[str, Any], _folder: Path) -> dict[str, Any]:
        started.append(len(request["graphs"]))
        spread = 0.5 if len(started) < 6 else 0.0
        facts = {"placement": {}, "load_ms": 1.0, "first_ms": 1.0, "peak_rss_mb": 1.0, "warm_up_runs": 1}
        return {
            name: facts | {"blocks_ms": [[1.0 + spread * (len(started) % 2)]] if name == "b" else [[1.0]]}
            for name in request["graphs"]
        }

    monkeypatch.setattr("foldpress.benchmark.latency.work", work)
    plan = LatencyPlan(processes=3, seconds=60.0)
    assert len(measure({"a": graph, "b": graph}, SAMPLES, plan)[0].samples_ms) == 3
    started.clear()
    settled = len(measure({"a": graph, "b": graph}, SAMPLES, replace(plan, half_width=0.1))[0].samples_ms)
    assert 8 <= settled < 100
    assert (
        len(measure({"a": graph, "b": graph}, SAMPLES, replace(plan, half_width=1e-6, seconds=0.0))[0].samples_ms) == 3
    )


def test_aa_rows_show_the_reference_against_itself() -> None:
    """Catches an A/A test that compares blocks with themselves, or is taken from another setting."""
    base, wide = samples(200), samples(200, batch=8)
    slower = [replace(one, again_ms=(np.array(one.samples_ms) * cost).tolist()) for one, cost in ((base, 2), (wide, 1))]
    rows = latency_rows([*slower, samples(200, 0.5, "small"), samples(200, 0.5, "small", 8)], "base", 0.95)
    assert [row["aa_ratio"] for row in rows] == [pytest.approx(ratio) for ratio in (0.5, 1, 0.5, 1)]
    unknown = latency_rows([samples(200)], "base", 0.95)[0]
    assert (unknown["aa_low"], unknown["aa_low_why"]) == (None, "the baseline was not timed against itself")


def test_one_process_gives_no_interval() -> None:
    """Catches the interval of one process taken for that of the ratio: processes differ by more."""
    both = [replace(one, samples_ms=one.samples_ms[:1]) for one in (samples(200), samples(200, 0.5, "small"))]
    row = latency_rows(both, "base", 0.95)[1]
    assert (row["speedup_low"], row["speedup"]) == (None, pytest.approx(2.0))
    assert "two or more" in row["speedup_low_why"]


def test_made_up_samples_fit_the_inputs() -> None:
    """Catches noise of another type or shape; an unknown shape cannot be made up."""
    specs = [InputSpec("x", np.dtype(np.float32), (None, 3, 2)), InputSpec("ids", np.dtype(np.int64), (None, 5))]
    made = synthetic_feed(specs, 4)
    assert {name: (array.dtype.name, array.shape[1:]) for name, array in made.inputs.items()} == {
        "x": ("float32", (3, 2)), "ids": ("int64", (5,)),
    }  # fmt: skip
    assert len(made) >= 4
    assert made.inputs["ids"].min() >= 0
    with pytest.raises(RequestError, match="not fixed"):
        synthetic_feed([InputSpec("x", np.dtype(np.float32), (None, None))], 1)
