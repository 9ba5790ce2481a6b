"""Latency of each graph: which marks are drawn, and what is cut off."""

from dataclasses import replace
from typing import Any

from figure_text import texts
from foldpress.benchmark.distributions import draw_latencies
from foldpress.benchmark.evidence import Evidence

pytest_plugins = ["report_fixture"]
Report = dict[str, Any]


def test_one_figure_a_setting_with_its_own_median(report: Report, evidence: Evidence) -> None:
    """Catches samples of two batch sizes thrown into one distribution, and the marks of one setting in another."""
    slower = [replace(one, batch=32, samples_ms=[[[8.0, 9.0, 10.0]]]) for one in evidence.latency]
    drawings = draw_latencies(report, evidence.latency + slower)
    assert [one.name for one in drawings] == ["latency-0", "latency-1"]
    assert [one.title for one in drawings] == ["Latency: CPU, batch 1, 1 thread", "Latency: CPU, batch 32, 1 thread"]
    assert "p50 9.00 ms" in texts(drawings[1].svg)
    assert not any(text.startswith("p90") for text in texts(drawings[1].svg))


def test_p90_is_the_reports_and_only_where_it_has_one(report: Report, evidence: Evidence) -> None:
    """Catches a percentile drawn from fewer runs than the report's own rule allows."""
    report["latency"][0]["p90_ms"], report["latency"][1]["p90_ms"] = 1.234, None
    shown = [text for text in texts(draw_latencies(report, evidence.latency)[0].svg) if text.startswith("p90")]
    assert len(shown) == 2
    assert "p90 1.23 ms" in shown


def test_outliers_are_cut_off_and_counted(report: Report, evidence: Evidence) -> None:
    """Catches one slow run that squeezes all others into a line, and runs that vanish without a word."""
    steady, stalled = [1.0] * 99, [50.0]
    latency = [replace(one, samples_ms=[[steady + stalled]]) for one in evidence.latency]
    for row in report["latency"]:
        row["p90_ms"] = 1.0
    drawing = draw_latencies(report, latency)[0]
    assert "Slower runs, 1.00 % of a graph's at most, are cut off." in drawing.caption
    assert "50" not in texts(drawing.svg)
