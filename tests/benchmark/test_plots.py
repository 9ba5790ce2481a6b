"""The figures together: what sizes and latency show, and that what was not measured is said."""

from dataclasses import replace
from typing import Any

import pytest

from figure_text import texts
from foldpress.benchmark import plots
from foldpress.benchmark.evidence import Evidence

pytest_plugins = ["report_fixture"]
Report = dict[str, Any]


def test_sizes_show_every_graph_and_a_dash_for_what_is_unknown(report: Report) -> None:
    """Catches an unknown size drawn as 0."""
    report["graphs"]["pruned.onnx"]["macs"] = None
    shown = texts(plots.draw_sizes(report).svg)
    assert {"exported.onnx", "pruned.onnx", "quantized.onnx", "49.7 kB", "–"} <= set(shown)


@pytest.mark.parametrize("absent", ["test", "folds", "latency", "classes"])
def test_what_was_not_measured_is_said(report: Report, evidence: Evidence, absent: str) -> None:
    """Catches a crash, or an empty frame, where a part of the evidence is missing."""
    gone: dict[str, Any] = {absent: [] if absent == "latency" else None}
    if absent == "latency":
        report["latency"] = []
    else:
        report["accuracy"] |= {absent: None, "classes_why": "there are none"}
    left = evidence if absent == "classes" else replace(evidence, **gone)
    sections = plots.draw_figures(report, left).values()
    assert [one.caption for section in sections for one in section if one.svg is None] == {
        "test": ["Fewer than two graphs were scored.", "No test split was scored."],
        "folds": ["No folds were scored."],
        "latency": ["No speedup was measured.", "No latency was measured."],
        "classes": ["No drop by class: there are none."],
    }[absent]
