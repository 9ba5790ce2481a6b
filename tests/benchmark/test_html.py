"""The HTML report: one whole file, safe, and saying everything."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest

from foldpress.benchmark.evidence import Evidence
from foldpress.benchmark.html import render_html

pytest_plugins = ["report_fixture"]
Report = dict[str, Any]
HOSTILE = "<script>alert(1)</script>"
VOID = {"meta", "link", "br", "img", "hr", "input"}


class Page(HTMLParser):
    """Tags with their attributes, text, and the tags left open."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_page_is_whole_and_well_nested(report: Report, evidence: Evidence) -> None:
    """Catches a tag that is never closed, and a page without viewport, title or doctype."""
    text = render_html(report, evidence)
    page = Page(text)
    assert text.startswith("<!DOCTYPE html>")
    assert page.open == []
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in [attrs for _, attrs in page.tags]


def test_nothing_outside_is_asked_for(report: Report, evidence: Evidence) -> None:
    """Catches a font, script or image from a network: the report must open on a machine without one."""
    text = render_html(report, evidence)
    for tag, attributes in Page(text).tags:
        assert tag not in ("script", "link", "iframe", "object", "base")
        for name in ("src", "href", "srcset", "action", "data"):
            assert (attributes.get(name) or "#").startswith(("#", "data:image/png;base64,"))
        assert not [name for name in attributes if name.startswith("on")]
    assert not re.search(r"url\((?!#)|@import", text)


def test_all_four_figures_are_there(report: Report, evidence: Evidence) -> None:
    """Catches a figure that is escaped into text, or left out; and ids used twice."""
    page = Page(render_html(report, evidence))
    identifiers = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert {"figure-sizes", "figure-latency-0", "figure-folds", "figure-predictions"} <= set(identifiers)
    assert len(identifiers) == len(set(identifiers))
    labels = {attributes.get("aria-labelledby") for tag, attributes in page.tags if tag == "svg"} - {None}
    assert labels <= set(identifiers)


@pytest.mark.parametrize("verdict", ["PASS", "FAIL", "INCONCLUSIVE", None])
def test_verdict_and_every_reason_are_told(report: Report, evidence: Evidence, verdict: str | None) -> None:
    """Catches a verdict without its reasons, and a missing verdict dressed as PASS."""
    page = Page(render_html({**report, "verdict": verdict}, evidence))
    header = next(attributes["class"] for tag, attributes in page.tags if tag == "header")
    assert header == f"verdict {verdict if verdict in ('PASS', 'FAIL') else 'UNSURE'}"
    assert (verdict or "NO VERDICT") in page.text
    assert all(check["why"] in page.text for check in report["checks"])


def test_hostile_text_is_escaped_everywhere(report: Report, evidence: Evidence) -> None:
    """Catches markup from class names, reasons, the recipe, the log or the machine that comes alive in the page."""
    facts = {**evidence.facts, "classes": [HOSTILE] * 10, "command": HOSTILE, "recipe": {HOSTILE: {HOSTILE: HOSTILE}}}
    facts["log"] = [dict.fromkeys(("pass", "subject", "action", "detail"), HOSTILE)]
    report["checks"][0] |= {"why": HOSTILE, "name": HOSTILE, "verdict": HOSTILE}
    report["environment"] = {HOSTILE: HOSTILE}
    report["accuracy"] |= {"metric": HOSTILE, "folds": None, "folds_why": HOSTILE}
    text = render_html({**report, "verdict": HOSTILE, "artifact": HOSTILE}, replace(evidence, facts=facts))
    assert HOSTILE not in text
    assert "script" not in [tag for tag, _ in Page(text).tags]
    assert Page(text).text.count(HOSTILE) >= 15


def test_two_renders_are_identical(report: Report, evidence: Evidence) -> None:
    """Catches a date or a random id: `foldpress report` would change a file that has not changed."""
    assert render_html(report, evidence) == render_html(report, evidence)


@pytest.mark.parametrize("absent", ["test", "folds", "latency"])
def test_renders_without_a_part_and_says_so(report: Report, evidence: Evidence, absent: str) -> None:
    """Catches a crash or a silent hole for `validate`, `bench`, or data without targets."""
    if absent == "latency":
        page = Page(render_html({**report, "latency": []}, replace(evidence, latency=[])))
        assert "no latency was measured" in page.text
        return
    report["accuracy"] |= {absent: None, f"{absent}_why": "the data have no targets"}
    gone: dict[str, Any] = {absent: None}
    page = Page(render_html(report, replace(evidence, **gone)))
    assert "the data have no targets" in page.text


def test_renders_with_nothing_but_a_verdict() -> None:
    """Catches a page that cannot be drawn when a run was stopped early."""
    page = Page(render_html({"verdict": "INCONCLUSIVE", "accuracy": None, "accuracy_why": "stopped"}, Evidence({})))
    assert "INCONCLUSIVE" in page.text
    assert "stopped" in page.text


def test_null_figures_carry_their_reason(report: Report, evidence: Evidence) -> None:
    """Catches a dash that nobody can explain; here p99 of too few runs."""
    text = render_html(report, evidence)
    assert "<td>–<sup>1</sup></td>" in text
    assert "<li>200 runs; p99 needs 662</li>" in text


def test_regression_report(regression: tuple[Report, Evidence]) -> None:
    """Catches classification taken for granted."""
    page = Page(render_html(*regression))
    assert "numbers do not flip" in page.text
    assert "Predictions, before and after" in page.text


def test_flipped_samples_are_shown_with_their_pictures(report: Report, evidence: Evidence) -> None:
    """Catches a picture at another sample, and names of classes left out."""
    assert evidence.pictures is not None
    page = Page(render_html(report, replace(evidence, facts={**evidence.facts, "classes": list("abcdefghij")})))
    shown = [attributes["alt"] for tag, attributes in page.tags if tag == "img"]
    assert sorted(map(str, shown)) == sorted(f"sample {row}" for row in evidence.pictures.sample)
    assert re.search(r"[a-j] → [a-j]", page.text)


def test_flipped_samples_without_pictures_are_listed_too(report: Report, evidence: Evidence) -> None:
    """Catches a gallery that needs images: tables of numbers flip as well."""
    page = Page(render_html(report, replace(evidence, pictures=None)))
    assert "img" not in [tag for tag, _ in page.tags]
    assert len(re.findall(r"row \d+", page.text)) == 4


def test_no_more_flips_than_there_is_room_for(report: Report, evidence: Evidence) -> None:
    """Catches a page with ten thousand pictures, and one that hides how many there are."""
    assert evidence.test is not None
    changed = replace(evidence.test, artifact=(evidence.test.baseline + 1) % 10)
    page = Page(render_html(report, replace(evidence, test=changed)))
    assert page.text.count("target ") == 24
    assert re.search(r"\d+ lost, .*; the first 24 are shown", page.text)


def test_reasons_stand_on_top(report: Report, evidence: Evidence) -> None:
    """Catches a verdict whose reason has to be looked for."""
    report["checks"][1] |= {"verdict": "FAIL", "why": "too many changed"}
    text = Page(render_html({**report, "verdict": "FAIL"}, evidence)).text
    assert text.index("too many changed") < text.index("Checks")


def test_passes_recipe_machine_and_command(report: Report, evidence: Evidence) -> None:
    """Catches a declined pass that is not shown with its reason, and a recipe that cannot be run again."""
    text = Page(
        render_html(report, replace(evidence, facts={**evidence.facts, "command": "foldpress run x -o y"}))
    ).text
    assert "2 done · 1 declined" in text
    assert "no int8 kernel in CPUExecutionProvider" in text
    assert '[model]\nsource = "model:build"' in text
    assert "packages.onnxruntime" in text
    assert "foldpress run x -o y" in text
