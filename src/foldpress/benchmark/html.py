"""The report as one HTML file: no network, no script, light and dark, for a screen, a phone and paper.

This module says what stands in the page; `report.html.j2` says how it looks. Every figure that is null is a dash, with
its reason as a note under the table.
"""

from collections.abc import Mapping
from importlib import resources
from itertools import groupby
from typing import Any

from foldpress.benchmark.changes import told_changes
from foldpress.benchmark.drops import fold_drops
from foldpress.benchmark.evidence import Evidence
from foldpress.benchmark.gallery import gallery, told_flips
from foldpress.benchmark.html_tables import accuracy_table, class_table, graph_table, latency_table
from foldpress.benchmark.layer_table import layer_table
from foldpress.benchmark.more_tables import more_tables
from foldpress.benchmark.plots import draw_figures
from foldpress.benchmark.rerun import command, made_from, recipe_toml, versions
from foldpress.benchmark.table import (
    DASH,
    block,
    check_figure,
    count,
    headline,
    kilobytes,
    metric_of,
    percent,
    score,
    summary_rows,
    times,
    times_between,
)

_FIGURES = ("value", "bound", "limit")
_MEANINGS = {
    "PASS": "every limit holds",
    "FAIL": "a limit is broken",
    "INCONCLUSIVE": "too little evidence to say yes",
}


def render_html(report: Mapping[str, Any], evidence: Evidence) -> str:
    """The whole page. `report["accuracy"]`, its blocks, and latency may be absent. Text from outside is escaped."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    source = resources.files("foldpress.benchmark").joinpath("report.html.j2").read_text(encoding="utf-8")
    page = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return page.from_string(source).render(_view(report, evidence), Markup=Markup)


def _view(report: Mapping[str, Any], evidence: Evidence) -> dict[str, Any]:
    """All that the template needs, by name."""
    verdict = str(report.get("verdict") or "NO VERDICT")
    return {
        "verdict": verdict,
        "meaning": _MEANINGS.get(verdict, "nothing was judged"),
        "headline": headline(report),
        "reasons": [
            (one["name"], one.get("why") or "") for one in report.get("checks") or [] if one.get("verdict") != "PASS"
        ],
        "tiles": _tiles(report),
        "checks": _checks(report),
        "figures": draw_figures(report, evidence),
        "graphs": graph_table(report),
        "changes": told_changes(report),
        "accuracy": accuracy_table(report, fold_drops(report, evidence.folds)),
        "classes": class_table(report, evidence.facts.get("classes")),
        "cards": gallery(evidence),
        "told_flips": told_flips(evidence.test),
        "latency": latency_table(report),
        "latency_why": report.get("latency_why") or "no latency was measured",
        "layers": layer_table(report, evidence),
        "more": more_tables(report),
        "passes": _passes(evidence.facts.get("log") or []),
        "environment": _flat(report.get("environment") or {}),
        "timing": [(key.removesuffix("_s"), f"{value:,.1f} s") for key, value in _numbers(report.get("timing"))],
        "recipe": recipe_toml(evidence.facts.get("recipe")),
        "command": command(evidence),
        "versions": versions(report),
        "made_from": made_from(report, evidence),
    }


def _tiles(report: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """The four figures that people look for first: name, figure, what it is measured against."""
    rows, metric = summary_rows(report), metric_of(report)
    baseline = rows[0] if rows else None
    artifact = next((row for row in rows if row.name == report.get("artifact")), None)
    test = block(report, "accuracy", "test")
    flips = test.get("flips_why") or f"at most {percent(test.get('flips_upper'))}"
    interval = times_between(artifact.speedup, artifact.speedup_low, artifact.speedup_high) if artifact else DASH
    return [
        ("size", kilobytes(getattr(artifact, "bytes", None)), f"from {kilobytes(getattr(baseline, 'bytes', None))}"),
        ("speedup", times(getattr(artifact, "speedup", None)), interval.partition("× ")[2] or "no interval"),
        (
            f"{metric} drop, at most",
            score(test.get("drop_upper"), metric),
            f"measured {score(test.get('drop'), metric)}",
        ),
        ("changed predictions", percent(test.get("flips")), flips),
    ]


def _checks(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Figures as text; what is not a PASS stands first, for that is what people open the page for."""
    checks = []
    for check in sorted(report.get("checks") or [], key=lambda check: bool(check.get("verdict") == "PASS")):
        figures = {key: check_figure(check["name"], check.get(key), metric_of(report)) for key in _FIGURES}
        checks.append({"verdict": DASH, "why": "", **check, **figures, "n": count(check.get("n"))})
    return checks


def _passes(log: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The log, pass by pass in the order of the run, with how much each did and declined."""
    passes = []
    for name, entries in groupby(log, key=lambda entry: str(entry.get("pass"))):
        found = [{key: entry.get(key) or "" for key in ("subject", "action", "detail")} for entry in entries]
        declined = sum(entry["action"] == "declined" for entry in found)
        passes.append({"name": name, "entries": found, "done": len(found) - declined, "declined": declined})
    return passes


def _numbers(timing: Mapping[str, Any] | None) -> list[tuple[str, float]]:
    return [(key, value) for key, value in (timing or {}).items() if isinstance(value, int | float)]


def _flat(facts: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested facts as dotted names and text."""
    pairs: list[tuple[str, str]] = []
    for key, value in facts.items():
        if isinstance(value, Mapping):
            pairs += _flat(value, f"{prefix}{key}.")
        else:
            text = ", ".join(map(str, value)) if isinstance(value, list) else DASH if value is None else str(value)
            pairs.append((f"{prefix}{key}", text))
    return pairs
