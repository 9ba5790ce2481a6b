"""JUnit: red unless everything passed."""

from typing import Any
from xml.etree import ElementTree

import pytest

from foldpress.benchmark.junit import render_junit

pytest_plugins = ["report_fixture"]
Report = dict[str, Any]


def read(report: Report) -> ElementTree.Element:
    return ElementTree.fromstring(render_junit(report))


def test_pass_is_green_with_one_case_a_check(report: Report) -> None:
    """Catches a lost check, and a red pipeline where all is well."""
    suite = read(report)
    assert suite.attrib | {"name": "foldpress", "tests": "4", "failures": "0", "errors": "0"} == suite.attrib
    assert [case.get("name") for case in suite] == [check["name"] for check in report["checks"]]
    assert not suite.findall("*/failure")
    assert not suite.findall("*/error")


@pytest.mark.parametrize(
    ("verdict", "kind"), [("FAIL", "failure"), ("INCONCLUSIVE", "error"), ("passed?", "error"), (None, "error")]
)
def test_anything_but_pass_is_red_and_says_why(report: Report, verdict: str | None, kind: str) -> None:
    """Catches INCONCLUSIVE as skipped (green), or an unknown verdict that slips through."""
    report["checks"][1] |= {"verdict": verdict, "why": "n = 40 is too few"}
    suite = read(report)
    found = suite.findall(f"testcase[2]/{kind}")
    assert [entry.get("message") for entry in found] == ["n = 40 is too few"]
    assert suite.get({"failure": "failures", "error": "errors"}[kind]) == "1"


@pytest.mark.parametrize("checks", [[], None])
@pytest.mark.parametrize("verdict", ["PASS", "FAIL", "INCONCLUSIVE"])
def test_nothing_checked_is_red(report: Report, checks: Any, verdict: str) -> None:
    """Catches an empty suite, which every build server shows as green."""
    suite = read({**report, "checks": checks, "verdict": verdict})
    assert (suite.get("tests"), suite.get("errors")) == ("1", "1")


def test_whole_verdict_counts_where_every_check_passed(report: Report) -> None:
    """Catches a green suite for a run whose files were changed afterwards."""
    report["verdict"] = "FAIL"
    assert read(report).get("failures") == "1"


def test_hostile_reason_stays_text(report: Report) -> None:
    """Catches XML that a message can break out of, and control characters that no XML parser reads."""
    why = 'a "class" <script>&amp; \x1b[31m\x00 \ud800 ü'
    report["checks"][0] |= {"verdict": "FAIL", "why": why}
    failure = read(report).find("testcase/failure")
    assert failure is not None
    assert failure.get("message") == 'a "class" <script>&amp; �[31m� � ü'
    render_junit(report).encode("utf-8")


def test_two_renders_are_identical(report: Report) -> None:
    """Catches a time stamp or host name, which would make two judgements of one evidence differ."""
    assert render_junit(report) == render_junit(report)
