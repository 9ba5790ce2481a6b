"""Speed against the baseline: who is shown, and under which setting."""

from typing import Any

import pytest

from figure_text import texts
from foldpress.benchmark.speedups import draw_speedups

pytest_plugins = ["report_fixture"]
Report = dict[str, Any]


def test_every_graph_but_the_baseline_with_its_ratio(report: Report) -> None:
    """Catches the baseline shown as one times as fast as itself, and a ratio in another graph's row."""
    shown = set(texts(draw_speedups(report).svg))
    ratios = {f"{row['speedup']:.2f}×" for row in report["latency"][1:]}
    assert {"pruned.onnx", "quantized.onnx", *ratios} <= shown
    assert "exported.onnx" not in shown


def test_settings_are_named_where_there_are_several(report: Report) -> None:
    """Catches two batch sizes that cannot be told apart."""
    report["latency"] += [{**row, "batch": 32} for row in report["latency"]]
    assert {"CPU, batch 1, threads 1", "CPU, batch 32, threads 1"} <= set(texts(draw_speedups(report).svg))


def test_the_gates_limit_is_drawn_where_there_is_one(report: Report) -> None:
    """Catches a figure without the line that the verdict hangs on."""
    assert "at least 1.00×" in texts(draw_speedups(report).svg)
    report["checks"] = []
    assert "at least 1.00×" not in texts(draw_speedups(report).svg)


@pytest.mark.parametrize("low", [None, 1.1])
def test_a_ratio_without_an_interval_is_a_point(report: Report, low: float | None) -> None:
    """Catches a crash where an interval could not be had."""
    report["latency"][-1] |= {"speedup_low": low, "speedup_high": None}
    assert f"{report['latency'][-1]['speedup']:.2f}×" in texts(draw_speedups(report).svg)
