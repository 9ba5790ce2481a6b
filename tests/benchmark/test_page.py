"""The report in headless Chromium: nothing complains, nothing is fetched, every figure is there and nothing sticks out."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from browser import Browser, find_chromium, open_browser
from foldpress.benchmark.evidence import Evidence
from foldpress.benchmark.html import render_html

pytest_plugins = ["report_fixture"]
Report = dict[str, Any]
PHONE, DESK = 390, 1280
CHROMIUM = find_chromium()

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium (apt-get install chromium, or set CHROMIUM)")

# What a person would not see: figures without size or marks, text that reaches out of its figure, broken pictures.
MISSING = """[...document.querySelectorAll("figure svg")].filter(one => {
    const box = one.getBoundingClientRect(), words = [...one.querySelectorAll("text")];
    const out = words.filter(word => {
        const inner = word.getBoundingClientRect();
        return inner.left < box.left - 1 || inner.right > box.right + 1 || inner.bottom > box.bottom + 1;
    });
    return box.width < 200 || box.height < 50 || !words.length || out.length || !one.querySelector("path, use, rect");
}).map(one => one.id).concat([...document.images].filter(one => !one.complete || !one.naturalWidth).map(one => one.alt))"""
# Elements that reach past the window; what lies in a box that scrolls by itself may.
WIDE = """[...document.querySelectorAll("body *")].filter(one => !one.closest(".scroll *, svg *") &&
    one.getBoundingClientRect().right > innerWidth + 0.5).map(one => one.tagName + "." + one.className)"""
# Contrast of text with the nearest background behind it (WCAG 2.1).
PALE = """(() => {
    const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
    const rgba = text => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = text; canvas.fillRect(0, 0, 1, 1);
                           return canvas.getImageData(0, 0, 1, 1).data; };
    const light = colour => [0, 1, 2].map(i => colour[i] / 255)
        .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    const behind = one => { for (; one; one = one.parentElement) {
        const found = rgba(getComputedStyle(one).backgroundColor); if (found[3] == 255) return found; }
        return [255, 255, 255]; };
    return [...document.querySelectorAll("h1, h2, h3, p, th, td, small, code, b, summary, pre, a, dt, dd")]
        .filter(one => one.innerText && one.innerText.trim()).filter(one => {
            const [low, high] = [light(rgba(getComputedStyle(one).color)), light(behind(one))].sort((a, b) => a - b);
            return (high + 0.05) / (low + 0.05) < 4.5; })
        .map(one => one.tagName + ": " + one.innerText.slice(0, 40));
})()"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for all pages."""
    assert CHROMIUM is not None
    with open_browser(CHROMIUM) as found:
        yield found


@pytest.fixture
def page(report: Report, evidence: Evidence, tmp_path: Path) -> Path:
    """The fixture's report, failing, with what makes pages wide: long names, long reasons, many kernels."""
    report["checks"][1] |= {"verdict": "FAIL", "why": "x" * 300}
    report["checks"][2] |= {"verdict": "INCONCLUSIVE"}
    kernels = {"integer": {f"QLinear{name}": 9 for name in ("Conv", "Add", "MatMul", "Concat")}, "conversions": 3,
               "integer_layers": {}, "float_layers": {}}  # fmt: skip
    report["graphs"]["quantized.onnx"]["kernels"] = kernels
    report["environment"]["platform"] = "y" * 200
    evidence.facts["command"] = f"foldpress run {'/long' * 40}"
    evidence.facts["log"].append({"pass": "quantize", "subject": "z" * 80, "action": "declined", "detail": "w" * 200})
    path = tmp_path / "report.html"
    path.write_text(render_html({**report, "verdict": "FAIL"}, evidence), encoding="utf-8")
    return path


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [PHONE, DESK], ids=["phone", "desk"])
def test_a_page_that_can_be_read(browser: Browser, page: Path, width: int, dark: bool) -> None:
    """Catches an error in the console, a request to anywhere, an empty figure, text that is cut off or too pale."""
    browser.events.clear()
    browser.show(page, width=width, dark=dark)
    browser.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    assert browser.evaluate("matchMedia('(prefers-color-scheme: dark)').matches") == dark
    assert browser.evaluate("document.querySelectorAll('figure svg').length") == 7
    assert browser.evaluate("document.images.length") == 4
    assert browser.evaluate(MISSING) == []
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    assert browser.evaluate(WIDE) == []
    assert browser.evaluate(PALE) == []
    assert browser.complaints() == []
    assert {address.split(":")[0] for address in browser.requests()} <= {"file", "data"}
    assert [address for address in browser.requests() if address.startswith("file")] == [page.resolve().as_uri()]


def test_a_regression_can_be_read_on_a_phone(
    browser: Browser, regression: tuple[Report, Evidence], tmp_path: Path
) -> None:
    """Catches figures that are only whole for classes, and an undecided verdict that is too pale."""
    document, evidence = regression
    path = tmp_path / "report.html"
    path.write_text(render_html({**document, "verdict": "INCONCLUSIVE"}, evidence), encoding="utf-8")
    browser.show(path, width=PHONE)
    assert browser.evaluate("document.querySelectorAll('figure svg').length") == 6
    assert browser.evaluate(MISSING) == []
    assert browser.evaluate("document.documentElement.scrollWidth") <= PHONE
    assert browser.evaluate(PALE) == []


def test_paper_shows_what_the_screen_folds_away(browser: Browser, page: Path) -> None:
    """Catches a printed report without its layers and passes, or white on white because the screen was dark."""
    browser.show(page, width=DESK, dark=True, media="print")
    shown = "[...document.querySelectorAll('details > :not(summary)')].every(one => one.offsetHeight > 0)"
    assert browser.evaluate(shown)
    assert browser.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert browser.evaluate(PALE) == []


def test_the_checks_of_this_test_can_fail(browser: Browser, tmp_path: Path) -> None:
    """Catches a browser that reports nothing: each fault here must be found."""
    faults = """<!DOCTYPE html><body style="margin:0"><script>console.error("here"); missing()</script>
        <p style="width:2000px; color:#eee; background:#fff">wide and pale</p><img src="http://localhost:9/none.png" alt="gone">
        <figure><svg id="cut" width="300" height="100"><rect/><text x="290" y="50">cut off on the right</text></svg></figure>"""
    path = tmp_path / "faults.html"
    path.write_text(faults, encoding="utf-8")
    browser.events.clear()
    browser.show(path, width=PHONE)
    assert any('"here"' in told for told in browser.complaints())
    assert any("missing is not defined" in told for told in browser.complaints())
    assert "http://localhost:9/none.png" in browser.requests()
    assert browser.evaluate(MISSING) == ["cut", "gone"]
    assert any(one.startswith("P.") for one in browser.evaluate(WIDE))
    assert browser.evaluate(PALE) == ["P: wide and pale"]
