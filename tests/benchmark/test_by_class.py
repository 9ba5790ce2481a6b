"""Drops by class: their order, and the bound that the gate looks at."""

from typing import Any

from figure_text import texts
from foldpress.benchmark.by_class import draw_classes, worst_first

pytest_plugins = ["report_fixture"]
Report = dict[str, Any]


def row(label: int, upper: float | None) -> Report:
    return {"class": label, "n": 40, "baseline": 1.0, "artifact": 0.9, "drop": 0.1, "drop_upper": upper}


def test_the_worst_bound_first_and_what_is_unknown_before_it(report: Report) -> None:
    """Catches a class without a bound that ends up last, where nobody looks."""
    report["accuracy"]["classes"] = [row(0, 0.2), row(1, None), row(2, 0.3)]
    assert [one["class"] for one in worst_first(report)] == [1, 2, 0]


def test_classes_by_their_names_with_the_margin(report: Report) -> None:
    """Catches the wrong name at a class, and a margin that belongs to another check."""
    report["checks"].append({"name": "max_class_drop", "limit": 0.15})
    report["accuracy"]["classes"] = [row(0, 0.2), row(1, 0.3)]
    shown = texts(draw_classes(report, ["cat", "dog"]).svg)
    assert shown.index("dog  (n = 40)") < shown.index("cat  (n = 40)")
    assert "margin 15.00 %" in shown


def test_many_classes_are_cut_short_and_counted(report: Report) -> None:
    """Catches a figure of a thousand rows, and one that says nothing about the rows that it lacks."""
    report["accuracy"]["classes"] = [row(label, label / 1000) for label in range(1000)]
    drawing = draw_classes(report)
    assert "30 of 1000 classes" in drawing.caption
    assert "999  (n = 40)" in texts(drawing.svg)
