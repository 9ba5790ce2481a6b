"""The drop of each fold: its interval, and its figure."""

from dataclasses import replace
from typing import Any

import numpy as np

from foldpress.benchmark.drops import draw_drops, fold_drops
from foldpress.benchmark.evidence import Evidence, Paired
from foldpress.benchmark.intervals import tango_upper

pytest_plugins = ["report_fixture"]
Report = dict[str, Any]


def test_drop_intervals_are_tangos_for_right_and_wrong(report: Report, evidence: Evidence) -> None:
    """Catches lost and gained swapped, a fold scored on another's rows, and the pooled bound recomputed otherwise."""
    drops = fold_drops(report, evidence.folds)
    table = evidence.folds
    assert table is not None
    change = (table.baseline_score - table.artifact_score)[table.fold == 2]
    lost, gained = int((change == 1).sum()), int((change == -1).sum())
    assert drops[2].high == tango_upper(lost, gained, len(change), 0.95)
    assert drops[2].low == -tango_upper(gained, lost, len(change), 0.95)
    assert all(one.low is not None and one.high is not None for one in drops)
    assert all((one.low or 0) < (one.drop or 0) < (one.high or 0) for one in drops)
    assert (drops[-1].label, drops[-1].high) == ("all folds", report["accuracy"]["folds"]["drop_upper"])


def test_repeated_samples_count_once(report: Report, evidence: Evidence) -> None:
    """Catches K·N pooled rows, which make an interval too narrow."""
    table = evidence.folds
    assert table is not None
    twice = Paired(**{name: np.concatenate([column, column]) for name, column in vars(table).items()})
    assert fold_drops(report, twice)[-1].low == fold_drops(report, table)[-1].low


def test_margin_is_drawn_where_there_is_one(report: Report, evidence: Evidence) -> None:
    """Catches a figure without the line that the verdict hangs on."""
    assert "margin 2.00 %" in (draw_drops(report, evidence.folds).svg or "")
    report["checks"] = []
    assert "margin" not in (draw_drops(report, evidence.folds).svg or "margin")


def test_few_samples_have_no_interval(report: Report, evidence: Evidence) -> None:
    """Catches an interval made up from one real-valued sample, and NaN scores that reach the axes."""
    assert evidence.folds is not None
    score = evidence.folds.artifact_score.copy()
    score[evidence.folds.fold == 0] = np.nan
    drops = fold_drops(report, replace(evidence.folds, artifact_score=score))
    assert (drops[0].low, drops[0].high) == (None, None)
    assert drops[1].low is not None
