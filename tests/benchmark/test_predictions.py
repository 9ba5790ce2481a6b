"""Changed predictions: a confusion matrix, a list of flips, a scatter."""

from typing import Any

import numpy as np

from figure_text import texts
from foldpress.benchmark.evidence import Evidence, Paired
from foldpress.benchmark.predictions import draw_predictions

pytest_plugins = ["report_fixture"]
Report = dict[str, Any]


def table(baseline: Any, artifact: Any) -> Paired:
    """A table of which only the predictions matter."""
    zeros = np.zeros(len(baseline))
    return Paired(zeros, zeros, zeros, zeros, np.asarray(baseline), np.asarray(artifact), zeros, zeros)


def test_confusion_counts_flips_and_names_classes() -> None:
    """Catches rows and columns swapped, and class names that are taken for mathematics or break the drawing."""
    drawing = draw_predictions(table([0, 0, 1, 1], [0, 1, 1, 1]), ["$cat", "\x1b<b>犬"])
    assert {"$cat", "\ufffd<b>犬"} <= set(texts(drawing.svg))
    assert drawing.caption.startswith("1 of 4 test predictions changed (25.00 %)")


def test_many_classes_list_the_most_frequent_flips() -> None:
    """Catches an unreadable matrix of 1,000 classes."""
    baseline = np.arange(400) % 100
    drawing = draw_predictions(table(baseline, np.where(baseline == 7, 9, baseline)))
    assert "7 → 9" in texts(drawing.svg)
    assert draw_predictions(table(baseline, baseline)).svg is None


def test_numbers_are_a_bounded_scatter(regression: tuple[Report, Evidence]) -> None:
    """Catches a matrix of 240 'classes', and a page of megabytes for a large test split."""
    assert "artifact prediction" in texts(draw_predictions(regression[1].test).svg)
    values = np.linspace(0, 1, 50_000)
    drawing = draw_predictions(table(values, values))
    assert drawing.caption.startswith("2,000 of 50,000")
    assert len(drawing.svg or "") < 500_000
