"""The shared table and the way figures are written."""

import math
from typing import Any

import pytest

from foldpress.benchmark.table import (
    DASH,
    check_figure,
    count,
    headline,
    kilobytes,
    milliseconds,
    percent,
    score,
    summary_rows,
    times,
    times_between,
)

pytest_plugins = ["report_fixture"]
Report = dict[str, Any]


@pytest.mark.parametrize("write", [kilobytes, percent, milliseconds, times, count])
@pytest.mark.parametrize("value", [None, math.nan, math.inf])
def test_unmeasured_is_a_dash_and_never_a_zero(write: Any, value: float | None) -> None:
    """Catches a null or NaN that reaches a reader as a figure."""
    assert write(value) == DASH


def test_units_and_digits() -> None:
    """Catches a wrong unit (1024 for 1000), a share that is not a per cent, and lost digits of short latencies."""
    assert kilobytes(352_080) == "352.1 kB"
    assert percent(0.0028) == "0.28 %"
    assert [milliseconds(value) for value in (0.08613, 0.861, 12.34, 1234.5)] == [
        "0.0861 ms",
        "0.861 ms",
        "12.3 ms",
        "1,234 ms",
    ]
    assert times_between(1.7, 1.61, 1.79) == "1.70× (1.61–1.79)"
    assert times_between(1.0, None, None) == "1.00×"


def test_zero_is_written_as_zero() -> None:
    """Catches zero taken for 'not measured', and a minus sign before a zero."""
    assert (percent(0.0), percent(-0.000001), milliseconds(0.0)) == ("0.00 %", "0.00 %", "0 ms")
    assert percent(-0.01) == "−1.00 %"


def test_only_accuracy_is_a_per_cent() -> None:
    """Catches an R² of 0.97 shown as 97 %."""
    assert score(0.97, "accuracy") == "97.00 %"
    assert score(0.97, "R²") == "0.9700"


def test_a_check_speaks_the_unit_of_its_limit() -> None:
    """Catches bytes shown as a share, or a latency as a plain number."""
    assert check_figure("max_bytes", 500_000, "accuracy") == "500.0 kB"
    assert check_figure("max_latency_p90", 5.0, "accuracy") == "5.00 ms"
    assert check_figure("min_speedup", 1.0, "accuracy") == "1.00×"
    assert check_figure("max_drop", 0.01, "R²") == "0.0100"
    assert check_figure("anything else", 0.01234, "accuracy") == "0.01234"


def test_rows_keep_order_and_give_each_graph_its_own_figures(report: Report) -> None:
    """Catches rows out of order, and a test score given to a graph that was never scored."""
    rows = summary_rows(report)
    test = report["accuracy"]["test"]
    assert [row.name for row in rows] == ["exported.onnx", "pruned.onnx", "quantized.onnx"]
    assert [row.accuracy for row in rows] == [test["baseline"], None, test["artifact"]]
    assert [row.p50_ms for row in rows] == [entry["p50_ms"] for entry in report["latency"]]
    assert (rows[0].speedup, rows[0].speedup_low) == (1.0, None)


def test_rows_take_one_setting_only(report: Report) -> None:
    """Catches a latency of another batch size that overwrites the first."""
    expected = summary_rows(report)
    report["latency"] += [{**entry, "batch": 32, "p50_ms": 99.0} for entry in report["latency"]]
    assert summary_rows(report) == expected


@pytest.mark.parametrize("missing", ["latency", "accuracy", "graphs", "checks", "confidence"])
def test_whatever_is_absent_breaks_nothing(report: Report, missing: str) -> None:
    """Catches a crash at the very end of a long run because one part was not measured."""
    for broken in ({**report, missing: None}, {key: value for key, value in report.items() if key != missing}):
        assert headline(broken)
        assert isinstance(summary_rows(broken), list)


def test_headline_says_only_what_was_measured(report: Report) -> None:
    """Catches a sentence with figures that nobody measured, or the drop in place of its bound."""
    assert headline(report).startswith("quantized.onnx takes 31.8 % of the bytes of exported.onnx; its speed is 1.")
    bound = 100 * report["accuracy"]["test"]["drop_upper"]
    assert f"drops by at most {bound:.2f} % (95 % confidence, 360 test samples)" in headline(report)
    assert headline({"artifact": "b.onnx"}) == "b.onnx: no figure against the baseline was measured."
