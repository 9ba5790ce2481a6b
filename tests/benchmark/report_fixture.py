"""A small plausible report with its evidence, as pytest fixtures: a digits classifier, and a regression.

Test modules take them by `pytest_plugins = ["report_fixture"]`, so that this file need not be importable by name
both for pytest and for mypy. Figures in the report are computed from the arrays, so report and evidence agree.
"""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from foldpress.benchmark.accuracy import classes_block
from foldpress.benchmark.evidence import Evidence, LatencySamples, Paired, Pictures
from foldpress.benchmark.intervals import clopper_pearson_upper, tango_upper

Report = dict[str, Any]
GRAPHS = ("exported.onnx", "pruned.onnx", "quantized.onnx")
COSTS = (
    (156_204, 38_282, 702_336, 0.0, "0" * 64),
    (126_880, 31_004, 561_152, 0.0, "1" * 64),
    (49_731, 31_004, 561_152, 0.018, "2" * 64),
)
PROVIDER = "CPUExecutionProvider"
CONFIDENCE = 0.95


@pytest.fixture
def evidence() -> Evidence:
    """360 test samples, 1,437 in five folds, three graphs timed in four processes."""
    generator = np.random.default_rng(7)
    facts = {"artifact": GRAPHS[-1], "baseline": GRAPHS[0], "task": "classification", "metric": "accuracy",
             "classes": list(range(10)), "recipe": _recipe(), "log": _log(), "layers": _layers()}  # fmt: skip
    latency = [_timed(graph, typical, generator) for graph, typical in zip(GRAPHS, (1.43, 1.02, 0.79), strict=True)]
    test = _digits(360, 1, generator)
    return Evidence(facts, test, _digits(1437, 5, generator), latency, _pictures(test))


@pytest.fixture
def report(evidence: Evidence) -> Report:
    """The report on that evidence: it passes."""
    assert evidence.test is not None
    assert evidence.folds is not None
    test, folds = _bounded(evidence.test), _bounded(evidence.folds)
    folds["each"] = [{"fold": fold, **_block(evidence.folds, evidence.folds.fold == fold)} for fold in range(5)]
    latency = [_summary(samples, evidence.latency[0]) for samples in evidence.latency]
    return {
        "schema": 1,
        "verdict": "PASS",
        "artifact": GRAPHS[-1],
        "task": "classification",
        "confidence": CONFIDENCE,
        "checks": _checks(test, latency[-1]),
        "accuracy": {"metric": "accuracy", "test": test, "folds": folds,
                     "classes": classes_block(evidence.test, CONFIDENCE)},
        "graphs": {name: dict(zip(("bytes", "parameters", "macs", "sparsity", "sha256"), costs, strict=True))
                   for name, costs in zip(GRAPHS, COSTS, strict=True)},
        "factorization": None, "factorization_why": "[factorize] was not asked for",
        "pruning": {"method": "structured", "budget": "macs", "asked": 0.8, "macs_left": 0.799, "parameters_left": 0.81,
                    "bytes_left": 0.81, "time": {"of": "pruning", "provider": PROVIDER, "batch": 1, "threads": 1, "precision": "static x86-vnni",
                    "ratio": 1.08, "low": 1.06, "high": 1.1, "costs_time": True, "saves_time": False}},
        "latency": latency,
        "timing": {"export_s": 2.41, "statistics_s": 3.02, "prune_s": 0.94, "quantize_s": 1.6, "latency_s": 30.2},
        "environment": {"cpu": "Intel Xeon Platinum 8481C", "cores": 8, "python": "3.11.7",
                        "packages": {"onnx": "1.23.2", "onnxruntime": "1.31.1", "torch": "2.13.0"}},
    }  # fmt: skip


@pytest.fixture
def regression(report: Report, evidence: Evidence) -> tuple[Report, Evidence]:
    """The same with a real-valued prediction, R², and no flips."""
    generator = np.random.default_rng(8)
    target = generator.normal(size=240)
    before, after = (target + generator.normal(size=240) * spread for spread in (0.2, 0.22))
    scores = [1 - (guess - target) ** 2 / target.var() for guess in (before, after)]
    test = Paired(np.arange(240), np.zeros(240, int), np.full(240, -1), target, before, after, *scores)
    folds = Paired(np.arange(240), np.zeros(240, int), np.arange(240) % 5, target, before, after, *scores)
    flips = {"flips": None, "flips_upper": None, "flips_why": "numbers do not flip"}
    each = [{"fold": fold, **_block(folds, folds.fold == fold), **flips} for fold in range(5)]
    accuracy = {"metric": "R²", "test": _block(test) | {"drop_upper": 0.0164} | flips,
                "folds": _block(folds) | {"drop_upper": 0.0164, "each": each} | flips}  # fmt: skip
    facts = {**evidence.facts, "task": "regression", "metric": "R²", "classes": None}
    none: Report = {"classes": None, "classes_why": "predictions are not classes"}
    return {**report, "task": "regression", "accuracy": {**accuracy, **none}}, Evidence(
        facts, test, folds, evidence.latency
    )


def _digits(samples: int, folds: int, generator: np.random.Generator) -> Paired:
    """Predictions of ten classes: the baseline errs on 2 %; the artifact loses some more and mends a few."""
    target = generator.integers(0, 10, samples)
    baseline = np.where(generator.random(samples) < 0.02, (target + 1) % 10, target)
    changed = generator.random(samples) < np.where(baseline == target, 0.006, 0.15)
    artifact = np.where(changed, np.where(baseline == target, (target + 3) % 10, target), baseline)
    fold = np.arange(samples) % folds if folds > 1 else np.full(samples, -1)
    scores = [(guess == target).astype(float) for guess in (baseline, artifact)]
    return Paired(np.arange(samples), np.zeros(samples, int), fold, target, baseline, artifact, *scores)


def _pictures(test: Paired) -> Pictures:
    """Stripes, as many across as the target says."""
    changed = np.flatnonzero(test.baseline != test.artifact)
    waves = np.sin(np.linspace(0, np.pi * (1 + test.target[changed, None, None]), 16, axis=-1).reshape(-1, 1, 16))
    return Pictures(test.sample[changed], np.repeat(127.5 * (waves + 1), 16, 1).astype(np.uint8))


def _layers() -> dict[str, list[Report]]:
    """Three layers: the second is pruned, then all but the first are rounded."""
    shapes = {"conv1": [16, 1, 3, 3], "conv2": [32, 16, 3, 3], "head": [10, 32]}
    pruned = {**shapes, "conv2": [20, 16, 3, 3], "head": [10, 20]}
    graphs = {GRAPHS[0]: shapes, GRAPHS[1]: pruned, GRAPHS[2]: pruned}
    return {
        graph: [_layer(name, shape, graph == GRAPHS[2] and name != "conv1") for name, shape in layers.items()]
        for graph, layers in graphs.items()
    }


def _layer(name: str, shape: list[int], rounded: bool) -> Report:
    size = int(np.prod(shape))
    return {"name": name, "operator": "Gemm" if name == "head" else "Conv", "weight_shape": shape, "parameters": size,
            "macs": size * (1 if name == "head" else 64), "bytes": size * (1 if rounded else 4), "sparsity": 0.0,
            "precision": "int8" if rounded else "float"}  # fmt: skip


def _block(table: Paired, chosen: NDArray[Any] | slice = slice(None)) -> Report:
    before, after = float(table.baseline_score[chosen].mean()), float(table.artifact_score[chosen].mean())
    flips = float((table.baseline[chosen] != table.artifact[chosen]).mean())
    return {
        "n": len(table.sample[chosen]),
        "baseline": before,
        "artifact": after,
        "drop": before - after,
        "flips": flips,
    }


def _bounded(table: Paired) -> Report:
    """As the gate would bound it, but for the spread between folds."""
    change = table.baseline_score - table.artifact_score
    lost, gained, n = int((change > 0).sum()), int((change < 0).sum()), len(table)
    flips = int((table.baseline != table.artifact).sum())
    return _block(table) | {
        "drop_upper": tango_upper(lost, gained, n, CONFIDENCE),
        "clopper_pearson_upper": clopper_pearson_upper(lost, n, CONFIDENCE),
        "flips_upper": clopper_pearson_upper(flips, n, CONFIDENCE),
    }


def _timed(graph: str, typical: float, generator: np.random.Generator) -> LatencySamples:
    samples = (typical * (1 + 0.03 * generator.gamma(2.0, 1.0, (4, 5, 10)))).round(4).tolist()
    again = (typical * (1 + 0.03 * np.random.default_rng(1).gamma(2.0, 1.0, (4, 5, 10)))).round(4).tolist()
    return LatencySamples(
        PROVIDER, 1, 1, graph, samples, {PROVIDER: 1.0}, 12 * typical, 2 * typical, 61.2, again, [3] * 4
    )


def _summary(samples: LatencySamples, reference: LatencySamples) -> Report:
    runs, slow = np.ravel(samples.samples_ms), np.ravel(reference.samples_ms)
    ratio = float(np.median(slow) / np.median(runs))
    interval = (None, None) if samples is reference else (0.95 * ratio, 1.06 * ratio)
    return {"provider": PROVIDER, "batch": 1, "threads": 1, "graph": samples.graph, "n": runs.size,
            "p50_ms": float(np.median(runs)), "p90_ms": float(np.quantile(runs, 0.9)), "p99_ms": None,
            "p99_ms_why": "200 runs; p99 needs 662", "speedup": ratio, "speedup_low": interval[0],
            "speedup_high": interval[1], "placement": samples.placement, "load_ms": samples.load_ms,
            "peak_rss_mb": samples.peak_rss_mb}  # fmt: skip


def _checks(test: Report, timed: Report) -> list[Report]:
    names = ("name", "value", "bound", "limit", "n", "why")
    drop, flips, fast = test["drop_upper"], test["flips_upper"], timed["speedup_low"]
    rows = (
        ("max_drop", test["drop"], drop, 0.02, 360, f"with 95 % confidence accuracy drops by at most {drop:.2%}"),
        ("max_flips", test["flips"], flips, 0.05, 360, f"at most {flips:.2%} of the predictions change"),
        ("min_speedup", timed["speedup"], fast, 1.0, 200, f"at least {fast:.2f} times as fast as the baseline"),
        ("max_bytes", 49_731, None, 100_000, None, "49.7 kB, under 100.0 kB"),
    )
    return [{**dict(zip(names, row, strict=True)), "verdict": "PASS"} for row in rows]


def _log() -> list[dict[str, str]]:
    rows = (
        ("prune", "conv2", "done", "removed 12 of 32 channels; error per MAC 1.2e-6"),
        ("prune", "conv3", "done", "removed 8 of 64 channels; error per MAC 2.0e-6"),
        ("prune", "head", "declined", "its outputs are the graph's outputs"),
        ("quantize", "conv1", "done", "U8S8, per channel, min/max over 512 samples"),
        ("quantize", "softmax", "declined", "no int8 kernel in CPUExecutionProvider"),
    )
    return [dict(zip(("pass", "subject", "action", "detail"), row, strict=True)) for row in rows]


def _recipe() -> dict[str, dict[str, Any]]:
    return {
        "model": {"source": "model:build", "weights": "weights.safetensors"},
        "data": {"source": "data:load", "train": "data:load_train", "task": "classification"},
        "prune": {"method": "structured", "macs": 0.8, "parameters": None},
        "benchmark": {"providers": [PROVIDER], "batches": [1], "threads": 1},
        "gate": {"max_drop": 0.02, "max_flips": 0.05, "min_speedup": 1.0, "max_bytes": 100_000.0},
    }
