"""The figures together: what sizes and latency show, and that what was not measured is said."""

from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import pytest

from foldpress.benchmark import plots
from foldpress.benchmark.evidence import Evidence

pytest_plugins = ["report_fixture"]
Report = dict[str, Any]


def texts(svg: str | None) -> list[str]:
    """All text of a figure."""
    assert svg is not None
    root = ElementTree.fromstring(svg)
    return ["".join(element.itertext()).strip() for element in root.iter("text")]


def test_sizes_show_every_graph_and_a_dash_for_what_is_unknown(report: Report) -> None:
    """Catches an unknown size drawn as 0."""
    report["graphs"]["pruned.onnx"]["macs"] = None
    shown = texts(plots.draw_sizes(report).svg)
    assert {"exported.onnx", "pruned.onnx", "quantized.onnx", "49.7 kB", "–"} <= set(shown)


def test_one_latency_figure_a_setting_with_its_median(report: Report, evidence: Evidence) -> None:
    """Catches samples of two batch sizes thrown into one distribution."""
    slower = [replace(one, batch=32, samples_ms=[[[8.0, 9.0, 10.0]]]) for one in evidence.latency]
    drawings = plots.draw_figures(report, replace(evidence, latency=evidence.latency + slower))
    assert [one.name for one in drawings if one.name.startswith("latency")] == ["latency-0", "latency-1"]
    assert "exported.onnx: p50 9.00 ms" in texts(drawings[2].svg)


@pytest.mark.parametrize("absent", ["test", "folds", "latency"])
def test_what_was_not_measured_is_said(report: Report, evidence: Evidence, absent: str) -> None:
    """Catches a crash, or an empty frame, where a part of the evidence is missing."""
    accuracy = {**report["accuracy"], **({absent: None} if absent != "latency" else {})}
    gone: dict[str, Any] = {absent: [] if absent == "latency" else None}
    left = replace(evidence, **gone)
    drawings = plots.draw_figures({**report, "accuracy": accuracy}, left)
    assert [one.caption for one in drawings if one.svg is None] == [
        {"test": "No test split was scored.", "folds": "No folds were scored.", "latency": "No latency was measured."}[
            absent
        ]
    ]
