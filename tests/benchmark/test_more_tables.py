"""Figures that no section is about: shown as they stand, each once."""

from typing import Any

from foldpress.benchmark.evidence import Evidence
from foldpress.benchmark.html import render_html
from foldpress.benchmark.more_tables import more_tables

pytest_plugins = ["report_fixture"]
Report = dict[str, Any]


def test_nothing_is_shown_twice(report: Report) -> None:
    """Catches a section of the page repeated as a bare table."""
    assert more_tables(report) == []


def test_a_part_that_the_page_does_not_know_is_shown(report: Report, evidence: Evidence) -> None:
    """Catches figures that a later version measures, and that the page silently leaves out."""
    report["agreement"] = [
        {"of": "threads", "changed": 3, "largest": 0.12345},
        {"of": "batch", "changed": None, "changed_why": "one batch size"},
    ]
    report["accuracy"]["logits"] = {"kl": 1.5e-7, "where": {"cat": 1}}
    (agreement, table), (logits, other) = more_tables(report)
    assert (agreement, logits) == ("agreement", "accuracy: logits")
    assert table.titles == ["of", "changed", "largest"]
    assert [[cell.text for cell in row] for row in table.rows] == [["threads", "3", "0.1235"], ["batch", "–", ""]]
    assert table.notes == ["one batch size"]
    assert [[cell.text for cell in row] for row in other.rows] == [["1.5e-07", "cat 1"]]
    assert "Further figures" in render_html(report, evidence)


def test_another_comparison_stands_with_the_others(report: Report, evidence: Evidence) -> None:
    """Catches a comparison of networks trained anew that is lost between the test split and the folds."""
    report["accuracy"]["refit"] = report["accuracy"]["folds"] | {"drop_upper": 0.0777}
    assert more_tables(report) == []
    text = render_html(report, evidence)
    assert "trained anew" in text
    assert "7.77 %" in text
