"""Figures as SVG: that several can stand in one page, light or dark, the same each time."""

import re
import subprocess
import sys
from typing import Any

import numpy as np

from foldpress.benchmark import plots, svg
from foldpress.benchmark.evidence import Evidence

pytest_plugins = ["report_fixture"]
Report = dict[str, Any]


def drawn(report: Report, evidence: Evidence) -> list[svg.Drawing]:
    """The figures of all sections."""
    return [one for section in plots.draw_figures(report, evidence).values() for one in section]


def test_import_is_cheap_and_never_loads_pyplot(tmp_path: Any) -> None:
    """Catches a module-level matplotlib import, and pyplot, which keeps state and may want a display."""
    script = (
        "import sys, foldpress.benchmark.plots, foldpress.benchmark.svg as p; print('matplotlib' in sys.modules);"
        "p.draw_svg('a', 1, lambda figure: figure.subplots()); print('matplotlib.pyplot' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.split() == ["False", "False"]


def test_every_figure_and_no_shared_id(report: Report, evidence: Evidence) -> None:
    """Catches a missing figure, and clip paths of one figure that cut another."""
    names = [one.name for one in drawn(report, evidence)]
    assert names == ["sizes", "pareto", "folds", "classes", "predictions", "speedups", "latency-0"]
    found = re.findall(r' id="([^"]+)"', "".join(one.svg or "" for one in drawn(report, evidence)))
    assert len(found) == len(set(found)) > len(names)


def test_every_reference_is_answered_inside(report: Report, evidence: Evidence) -> None:
    """Catches an id that was renamed where it is defined but not where it is used: marks would vanish."""
    for one in drawn(report, evidence):
        used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', one.svg or ""))
        assert used <= set(re.findall(r' id="([^"]+)"', one.svg or ""))


def test_identical_twice_and_whatever_the_users_settings(report: Report, evidence: Evidence) -> None:
    """Catches dates, random ids, and a matplotlibrc that leaks into the report."""
    import matplotlib

    first = plots.draw_figures(report, evidence)
    with matplotlib.rc_context({"font.size": 30, "lines.linewidth": 9, "text.color": "red"}):
        assert plots.draw_figures(report, evidence) == first


def test_readable_on_light_and_dark(report: Report, evidence: Evidence) -> None:
    """Catches black text on a dark page, a style sheet that leaks into the page, and pale marks."""
    for one in drawn(report, evidence):
        assert "<style" not in (one.svg or "")
        assert "font-family" not in (one.svg or "")
        assert "#000000" not in (one.svg or "")
        assert "currentColor" in (one.svg or "")
    for colour in (*svg.COLOURS, svg.STRESS):
        assert min(contrast(colour, page) for page in ("#ffffff", "#14171c")) >= 3.0


def contrast(one: str, other: str) -> float:
    """WCAG 2.1 contrast ratio."""
    parts = np.array([[int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)] for colour in (one, other)])
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    dark, light = sorted(linear @ [0.2126, 0.7152, 0.0722])
    return float((light + 0.05) / (dark + 0.05))
