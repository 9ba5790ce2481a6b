"""The verdict as JUnit XML, which every build server reads: one test case a check.

A pipeline goes green only when every check passed and the whole verdict is PASS. A broken limit is a `<failure>`;
too little evidence, or a verdict that nobody knows, is an `<error>`: both turn it red.
"""

import re
from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree

SUITE = "foldpress"
_RED = {"PASS": None, "FAIL": "failure"}  # anything else: error
# XML 1.0 §2.2 allows no other control characters, nor lone surrogates; a document with one cannot be read at all.
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render_junit(report: Mapping[str, Any]) -> str:
    """One `<testsuite>` with a `<testcase>` for each check, and the check's reason as the message."""
    checks = list(report.get("checks") or [])
    verdict = report.get("verdict")
    if not checks:  # an empty suite would read as green
        checks.append({"name": "verdict", "verdict": "INCONCLUSIVE", "why": "no limit was checked"})
    elif verdict != "PASS" and all(check.get("verdict") == "PASS" for check in checks):
        checks.append({"name": "verdict", "verdict": verdict, "why": f"the verdict is {verdict}, not PASS"})
    suite = ElementTree.Element("testsuite", _counts(checks))
    for check in checks:
        _add_case(suite, check, _seconds(report) / len(checks))
    ElementTree.indent(suite, " ")
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(suite, encoding="unicode") + "\n"


def _counts(checks: list[dict[str, Any]]) -> dict[str, str]:
    kinds = [_kind(check) for check in checks]
    return {
        "name": SUITE,
        "tests": str(len(checks)),
        "failures": str(kinds.count("failure")),
        "errors": str(kinds.count("error")),
        "skipped": "0",
    }


def _add_case(suite: ElementTree.Element, check: dict[str, Any], seconds: float) -> None:
    case = ElementTree.SubElement(
        suite, "testcase", {"classname": f"{SUITE}.gate", "name": _xml(check.get("name")), "time": f"{seconds:.3f}"}
    )
    figures = "\n".join(
        f"{key}: {check[key]}" for key in ("value", "bound", "limit", "n") if check.get(key) is not None
    )
    kind = _kind(check)
    if kind is None:
        ElementTree.SubElement(case, "system-out").text = _xml(f"{check.get('why')}\n{figures}")
        return
    attributes = {"message": _xml(check.get("why")), "type": _xml(check.get("verdict"))}
    ElementTree.SubElement(case, kind, attributes).text = _xml(figures)


def _kind(check: dict[str, Any]) -> str | None:
    return _RED.get(str(check.get("verdict")), "error")


def _seconds(report: Mapping[str, Any]) -> float:
    """The whole run's time, spread over the checks: they share it, and build servers only show the sum."""
    return float(sum(value for value in (report.get("timing") or {}).values() if isinstance(value, int | float)))


def _xml(text: object) -> str:
    return _NOT_XML.sub("\ufffd", "" if text is None else str(text))
