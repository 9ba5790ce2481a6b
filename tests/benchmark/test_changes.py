"""What pruning and factorization did, in sentences, wherever a report is read."""

from typing import Any

import pytest

from foldpress.benchmark.changes import told_changes
from foldpress.benchmark.evidence import Evidence
from foldpress.benchmark.html import render_html
from foldpress.benchmark.markdown import render_markdown
from foldpress.benchmark.more_tables import more_tables
from foldpress.benchmark.report import build_report

pytest_plugins = ["report_fixture"]
Report = dict[str, Any]
COSTS = "pruning costs time: 1.080 (1.060–1.100) of the unpruned graph's time in static x86-vnni, batch 1, threads 1"


def test_a_cut_that_costs_time_is_told_in_every_report(report: Report, evidence: Evidence) -> None:
    """Catches: fewer MACs sold as less time, by a report that leaves the time to its log."""
    assert "Pruned to macs = 0.8: 79.90 % of the MACs" in str(told_changes(report))
    assert COSTS in str(told_changes(report))
    assert "pruning costs time: 1.080" in render_markdown(report)
    assert COSTS in render_html(report, evidence).replace("&#39;", "'")
    assert "pruning" not in [title for title, _ in more_tables(report)]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"costs_time": False, "saves_time": True}, "pruning saves time: 1.080"),
        ({"costs_time": False, "low": None, "high": None}, "pruning saves no time: 1.080 of the"),
    ],
)
def test_it_says_no_more_than_was_measured(report: Report, changes: Report, told: str) -> None:
    """Catches: an interval made up, or a gain claimed where the interval holds 1."""
    report["pruning"]["time"] |= changes
    assert told in str(told_changes(report))


def test_what_was_not_measured_has_its_reason(report: Report, evidence: Evidence) -> None:
    """Catches: a sentence without a figure or a reason; a null in report.json without one."""
    none = {"method": "2:4", "budget": None, "budget_why": "2:4 takes no budget", "time": None, "time_why": "zeros"}
    report["pruning"] = none
    assert told_changes(report) == ["Pruned to 2:4; what that did to the time was not measured: zeros."]
    report["pruning"] = None
    assert told_changes(report) == []
    assert "Pruned" not in render_markdown(report)
    facts = {"has_labels": True, "graphs": report["graphs"], "timing": {}, "environment": {}}
    for recipe, why in (({}, "[prune] was not asked for"), ({"prune": {"macs": 0.8}}, "not measured")):
        found = Evidence(evidence.facts | facts | {"recipe": recipe}, evidence.test, evidence.folds, evidence.latency)
        document = build_report(found, {"max_drop": 0.5}, 0.95)
        assert (document["pruning"], document["pruning_why"]) == (None, why)


def test_factorization_is_told_as_pruning_is(report: Report) -> None:
    """Catches: a second stage without its sentence; a time of both sold as that of one."""
    report["factorization"] = report["pruning"] | {"method": "low-rank", "asked": 0.7}
    report["factorization"]["time"] = report["pruning"]["time"] | {"of": "pruning and factorization"}
    told = told_changes(report)[1]
    assert told.startswith("Factorized to macs = 0.7")
    assert "pruning and factorization costs time: 1.080 (1.060–1.100) of the original graph's time" in told
    assert told in render_markdown(report)
