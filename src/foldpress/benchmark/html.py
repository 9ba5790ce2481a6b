"""The report as one HTML file: no network, no script, light and dark, for a screen, a phone and paper.

This module says what stands in the page; `report.html.j2` says how it looks. Every figure that is null is a dash, with
its reason as a note under the table.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import resources
from itertools import groupby
from typing import Any

from foldpress.benchmark.evidence import Evidence
from foldpress.benchmark.plots import Drop, draw_figures, fold_drops
from foldpress.benchmark.table import (
    DASH,
    block,
    check_figure,
    count,
    headline,
    kilobytes,
    metric_of,
    milliseconds,
    percent,
    score,
    summary_rows,
    times,
    times_between,
)

_OPEN_AT_MOST = 12  # entries of a pass shown without a click
_FIGURES = ("value", "bound", "limit")
_MEANINGS = {
    "PASS": "every limit holds",
    "FAIL": "a limit is broken",
    "INCONCLUSIVE": "too little evidence to say yes",
}


@dataclass(frozen=True)
class Cell:
    """One cell: its text, a smaller line under it, and the number of the note that explains it."""

    text: str
    under: str = ""
    note: int | None = None


@dataclass
class Table:
    """A table of the page. `strong` names the rows that stand out; notes are numbered from 1."""

    titles: list[str]
    rows: list[list[Cell]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    strong: set[str] = field(default_factory=set)

    def cell(self, facts: Mapping[str, Any], key: str, form: Callable[[Any], str], under: str = "") -> Cell:
        """A figure; a null one is a dash, with a note where `<key>_why` gives the reason; an absent one is blank."""
        if key not in facts:
            return Cell("")
        if facts[key] is not None:
            return Cell(form(facts[key]), under)
        return self.dash(facts.get(f"{key}_why"))

    def dash(self, why: object) -> Cell:
        """A dash, with the reason as a note."""
        if not why:
            return Cell(DASH)
        if str(why) not in self.notes:
            self.notes.append(str(why))
        return Cell(DASH, note=self.notes.index(str(why)) + 1)


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
    drawings = draw_figures(report, evidence)
    return {
        "verdict": verdict,
        "meaning": _MEANINGS.get(verdict, "nothing was judged"),
        "headline": headline(report),
        "tiles": _tiles(report),
        "checks": _checks(report),
        "graphs": _graphs(report),
        "accuracy": _accuracy(report, fold_drops(report, evidence.folds)),
        "latency": _latency(report),
        "latency_why": report.get("latency_why") or "no latency was measured",
        "drawings": drawings,
        "passes": _passes(evidence.facts.get("log") or []),
        "environment": _flat(report.get("environment") or {}),
        "timing": [(key.removesuffix("_s"), f"{value:,.1f} s") for key, value in _numbers(report.get("timing"))],
        "recipe": _toml(evidence.facts.get("recipe")),
        "command": evidence.facts.get("command") or "foldpress run RECIPE -o DIR",
    }


def _tiles(report: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """The four figures that people look for first: name, figure, what it is measured against."""
    rows, metric = summary_rows(report), metric_of(report)
    baseline = rows[0] if rows else None
    artifact = next((row for row in rows if row.name == report.get("artifact")), None)
    test = block(report, "accuracy", "test")
    interval = times_between(artifact.speedup, artifact.speedup_low, artifact.speedup_high) if artifact else DASH
    return [
        ("size", kilobytes(getattr(artifact, "bytes", None)), f"from {kilobytes(getattr(baseline, 'bytes', None))}"),
        ("speedup", times(getattr(artifact, "speedup", None)), interval.partition("× ")[2] or "no interval"),
        (
            f"{metric} drop, at most",
            score(test.get("drop_upper"), metric),
            f"measured {score(test.get('drop'), metric)}",
        ),
        ("changed predictions", percent(test.get("flips")), f"at most {percent(test.get('flips_upper'))}"),
    ]


def _checks(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Figures as text; what is not a PASS stands first, for that is what people open the page for."""
    checks = []
    for check in sorted(report.get("checks") or [], key=lambda check: bool(check.get("verdict") == "PASS")):
        figures = {key: check_figure(check["name"], check.get(key), metric_of(report)) for key in _FIGURES}
        checks.append({"verdict": DASH, "why": "", **check, **figures, "n": count(check.get("n"))})
    return checks


def _graphs(report: Mapping[str, Any]) -> Table:
    metric, rows = metric_of(report), summary_rows(report)
    table = Table(["graph", "size", "parameters", "MACs", "sparsity", "p50", "speedup", f"{metric} (test)"])
    for row in rows:
        facts = {**block(report, "graphs", row.name), **vars(row), "p50_ms_why": report.get("latency_why")}
        sizes = [("bytes", kilobytes), ("parameters", count), ("macs", count)]
        speed = f"{row.speedup_low:.2f}–{row.speedup_high:.2f}" if row.speedup_low and row.speedup_high else ""
        unscored = (
            None
            if row.name in (rows[0].name, report.get("artifact"))
            else "only the baseline and the artifact are scored"
        )
        table.rows.append([
            Cell(row.name, "ships" if row.name == report.get("artifact") else ""),
            *(table.cell(facts, key, form, _share(facts[key], getattr(rows[0], key))) for key, form in sizes),
            table.cell(facts, "sparsity", percent),
            table.cell(facts, "p50_ms", milliseconds),
            table.cell(facts, "speedup", times, speed),
            table.cell({**facts, "accuracy_why": unscored}, "accuracy", lambda value: score(value, metric)),
        ])  # fmt: skip
    table.strong = {str(report.get("artifact"))}
    return table


def _accuracy(report: Mapping[str, Any], drops: list[Drop]) -> Table:
    accuracy = block(report, "accuracy")
    table = Table(["data", "n", "baseline", "artifact", "drop", "drop at most", "flips", "flips at most"])
    for key, label in (("test", "test split"), ("folds", "all folds")):
        measured = block(report, "accuracy", key)
        if not measured:
            why = accuracy.get(f"{key}_why") or report.get("accuracy_why") or "not measured"
            table.rows.append([Cell(label), *([table.dash(why)] * (len(table.titles) - 1))])
            continue
        table.strong.add(label)
        table.rows.append(_accuracy_row(table, label, measured, metric_of(report)))
        bounds = {"drop_upper": None, "drop_upper_why": "too few samples for an interval"}
        for entry, one in zip(measured.get("each") or [], drops if key == "folds" else [], strict=False):
            known = bounds if one.high is None else {"drop_upper": one.high}
            table.rows.append(_accuracy_row(table, one.label, {**entry, **known}, metric_of(report)))
    return table


def _accuracy_row(table: Table, label: str, measured: Mapping[str, Any], metric: str) -> list[Cell]:
    scores = [table.cell(measured, key, lambda value: score(value, metric)) for key in ("baseline", "artifact", "drop")]
    exact = measured.get("clopper_pearson_upper")
    under = "" if exact is None else f"Clopper–Pearson {score(exact, metric)}"
    bound = table.cell(measured, "drop_upper", lambda value: score(value, metric), under)
    flips = [table.cell(measured, "flips", percent), table.cell(measured, "flips_upper", percent)]
    return [Cell(label), table.cell(measured, "n", count), *scores, bound, *flips]


def _latency(report: Mapping[str, Any]) -> Table:
    table = Table(["graph", "where", "runs", "p50", "p90", "p99", "speedup", "load", "peak memory", "placement"])
    for entry in report.get("latency") or []:
        low, high = entry.get("speedup_low"), entry.get("speedup_high")
        where = f"batch {entry['batch']}, threads {entry['threads']}"
        placement = [
            f"{name.removesuffix('ExecutionProvider')} {share:.0%}"
            for name, share in (entry.get("placement") or {}).items()
        ]
        table.rows.append([
            Cell(entry["graph"]),
            Cell(entry["provider"].removesuffix("ExecutionProvider"), where),
            table.cell(entry, "n", count),
            *(table.cell(entry, key, milliseconds) for key in ("p50_ms", "p90_ms", "p99_ms")),
            table.cell(entry, "speedup", times, f"{low:.2f}–{high:.2f}" if low and high else ""),
            table.cell(entry, "load_ms", milliseconds),
            table.cell(entry, "peak_rss_mb", lambda size: f"{size:,.1f} MB"),
            Cell(", ".join(placement) or DASH),
        ])  # fmt: skip
    table.strong = {str(report.get("artifact"))}
    return table


def _passes(log: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The log, pass by pass in the order of the run, with how much each did and declined."""
    passes = []
    for name, entries in groupby(log, key=lambda entry: str(entry.get("pass"))):
        found = [{key: entry.get(key) or "" for key in ("subject", "action", "detail")} for entry in entries]
        declined = sum(entry["action"] == "declined" for entry in found)
        opened = len(found) <= _OPEN_AT_MOST
        passes.append(
            {"name": name, "entries": found, "done": len(found) - declined, "declined": declined, "open": opened}
        )
    return passes


def _share(value: float | None, whole: float | None) -> str:
    return f"{value / whole:.0%}".replace("%", " %") if value and whole and value != whole else ""


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


def _toml(recipe: object) -> str | None:
    """The recipe as it would be written; JSON's scalars and lists are TOML's too. None: there is no recipe."""
    if not isinstance(recipe, Mapping):
        return None if recipe is None else str(recipe)
    tables = []
    for name, table in recipe.items():
        entries = table.items() if isinstance(table, Mapping) else ()
        lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in entries if value is not None]
        tables += ["\n".join([f"[{name}]", *lines])] if isinstance(table, Mapping) else []
    return "\n\n".join(tables)
