"""report.json: every name of the contract, no NaN, and a reason beside every null."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest

from foldpress.benchmark.evidence import Evidence
from foldpress.benchmark.report import build_report, describe_graph
from foldpress.errors import RequestError

pytest_plugins = ["report_fixture"]
LIMITS = {
    "max_drop": 0.05,
    "max_flips": 0.05,
    "max_class_drop": 0.9,
    "min_speedup": 1.0,
    "max_bytes": 1e6,
    "max_latency_p90": 5,
}
NAMES = ("exported.onnx", "pruned.onnx", "quantized.onnx")
TEST_KEYS = {"n", "baseline", "artifact", "drop", "drop_upper", "flips", "flips_upper"}
LATENCY_KEYS = {"provider", "batch", "threads", "graph", "n", "p50_ms", "p90_ms", "p99_ms", "speedup", "speedup_low",
                "speedup_high", "placement", "peak_rss_mb", "load_ms"}  # fmt: skip


@pytest.fixture
def measured(evidence: Evidence) -> Evidence:
    """The fixture's evidence with all facts that a run records."""
    graphs = {
        name: {"bytes": 50_000, "parameters": 10, "macs": 20, "sparsity": 0.0, "sha256": "0" * 64} for name in NAMES
    }
    facts = {"has_labels": True, "graphs": graphs, "timing": {"export_s": 1.0}, "environment": {"cores": 2}}
    return replace(evidence, facts=evidence.facts | facts)


def nulls(found: Any, path: str = "") -> Iterator[str]:
    """Every null without a reason beside it; a check's reason is its `why`."""
    if isinstance(found, dict):
        for key, value in found.items():
            if value is None and not found.get(f"{key}_why") and "why" not in found:
                yield f"{path}.{key}"
            yield from nulls(value, f"{path}.{key}")
    if isinstance(found, list):
        for index, value in enumerate(found):
            yield from nulls(value, f"{path}[{index}]")


def test_every_name_of_the_contract(measured: Evidence) -> None:
    """Catches a renamed or dropped key that a build pipeline relies on."""
    document = build_report(measured, LIMITS, 0.95)
    assert {"schema", "verdict", "artifact", "checks", "accuracy", "graphs", "latency", "timing", "environment"} <= set(
        document
    )
    assert (document["schema"], document["verdict"], document["artifact"]) == (1, "PASS", "quantized.onnx")
    for check in document["checks"]:
        assert set(check) == {"name", "verdict", "value", "bound", "limit", "n", "why"}
    assert set(document["accuracy"]["test"]) >= TEST_KEYS
    assert set(document["accuracy"]["folds"]) >= (TEST_KEYS - {"flips_upper"}) | {"each"}
    assert set(document["accuracy"]["folds"]["each"][0]) >= {"fold", "n", "baseline", "artifact", "drop", "flips"}
    assert [set(row) >= LATENCY_KEYS for row in document["latency"]] == [True] * 3
    json.dumps(document, allow_nan=False)


def test_the_latency_that_is_judged_is_the_artifacts(measured: Evidence) -> None:
    """Catches a gate on the speed of a graph that does not ship."""
    document = build_report(measured, {"min_speedup": 0.0, "max_latency_p90": 50}, 0.95)
    ours = next(row for row in document["latency"] if row["graph"] == "quantized.onnx")
    assert [check["value"] for check in document["checks"]] == [ours["speedup"], ours["p90_ms"]]


def test_every_null_has_its_reason(measured: Evidence, regression: Any) -> None:
    """Catches a dash that nobody can explain."""
    facts = measured.facts | {"has_labels": False, "metric": "R²", "task": "regression"}
    numbers = replace(regression[1], facts=facts)
    few = replace(
        measured,
        latency=[
            replace(one, samples_ms=[[[1.0], [1.1]]], again_ms=[[[1.0], [1.1]]], peak_rss_mb=None)
            for one in measured.latency
        ],
    )
    assert measured.test is not None
    unknown = replace(measured.test, artifact_score=np.full(len(measured.test), np.nan))
    for evidence in (
        measured,
        numbers,
        few,
        replace(measured, test=unknown),
        replace(measured, test=None, folds=None, latency=[]),
    ):
        document = build_report(evidence, LIMITS, 0.95)
        assert list(nulls(document)) == []
        json.dumps(document, allow_nan=False)
    assert build_report(replace(measured, test=unknown), LIMITS, 0.95)["verdict"] == "INCONCLUSIVE"


@pytest.mark.parametrize("confidence", [0.0, 0.3, 1.0, 95, float("nan")])
def test_confidence_that_is_no_confidence_is_refused(measured: Evidence, confidence: float) -> None:
    """Catches 95 written for 0.95, and bounds below the measured value."""
    with pytest.raises(RequestError, match="confidence"):
        build_report(measured, LIMITS, confidence)


def test_graph_entry_counts_external_weights(tmp_path: Path) -> None:
    """Catches a graph of a few bytes whose weights lie beside it, passed as small."""
    text = """<ir_version: 9, opset_import: ["" : 18]> g (float[N, 64] x) => (float[N, 64] y) { y = MatMul(x, W) }"""
    model = onnx.parser.parse_model(text)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.ones((64, 64), np.float32), "W"))
    onnx.save(model, tmp_path / "one.onnx")
    onnx.save(model, tmp_path / "two.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)
    one, two = describe_graph(tmp_path / "one.onnx"), describe_graph(tmp_path / "two.onnx")
    assert one["bytes"] == (tmp_path / "one.onnx").stat().st_size
    assert two["bytes"] == (tmp_path / "two.onnx").stat().st_size + 64 * 64 * 4
    assert (one["macs"], one["parameters"]) == (two["macs"], two["parameters"]) == (4096, 4096)
