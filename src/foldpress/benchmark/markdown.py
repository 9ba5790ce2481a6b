"""The report as Markdown, short enough for a pull request: verdict, checks, graphs, accuracy."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from foldpress.benchmark.by_class import worst_first
from foldpress.benchmark.changes import told_changes
from foldpress.benchmark.table import (
    DASH,
    accuracy_blocks,
    block,
    check_figure,
    count,
    graph_titles,
    headline,
    kilobytes,
    metric_of,
    milliseconds,
    percent,
    score,
    summary_rows,
    times_between,
    told_divergence,
)

_SIGNS = {"PASS": "✅", "FAIL": "❌"}
_UNSURE = "⚠️"
_CLASSES_AT_MOST = 5  # the worst of them: a summary has no room for a thousand
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|#~$])")  # what GitHub's Markdown would read as more than text


def render_markdown(report: Mapping[str, Any]) -> str:
    """The whole document. Text from outside (names, reasons) is escaped: it can neither format nor inject HTML."""
    verdict = str(report.get("verdict") or "NO VERDICT")
    parts = [
        f"## {_sign(verdict)} foldpress: {_text(verdict)}",
        _text(headline(report)),
        "### Checks",
        _checks(report),
        "### Graphs",
        _graphs(report),
        *(_text(told) for told in told_changes(report)),
        "### Accuracy",
        _accuracy(report),
        *([_classes(report)] if block(report, "accuracy").get("classes") else []),
    ]
    return "\n\n".join(parts) + "\n"


def _checks(report: Mapping[str, Any]) -> str:
    metric = metric_of(report)
    rows = [
        [
            f"{_sign(check.get('verdict'))} {check.get('verdict')}",
            check["name"],
            *(check_figure(check["name"], check.get(key), metric) for key in ("value", "bound", "limit")),
            count(check.get("n")),
            check.get("why") or "",
        ]
        for check in report.get("checks") or []
    ]
    return _table(["", "check", "value", "bound", "limit", "n", "why"], rows) if rows else "No limit was checked."


def _graphs(report: Mapping[str, Any]) -> str:
    rows = [
        [
            f"{row.name} (ships)" if row.name == report.get("artifact") else row.name,
            kilobytes(row.bytes),
            kilobytes(block(report, "graphs", row.name).get("packed_bytes")),
            count(row.parameters),
            count(row.macs),
            percent(row.sparsity),
            milliseconds(row.p50_ms),
            times_between(row.speedup, row.speedup_low, row.speedup_high),
            score(row.accuracy, metric_of(report)),
        ]
        for row in summary_rows(report)
    ]
    return _table(graph_titles(report), rows) if rows else "No graph was measured."


def _accuracy(report: Mapping[str, Any]) -> str:
    metric, accuracy = metric_of(report), block(report, "accuracy")
    rows, notes = [], []
    for key, label in accuracy_blocks(report):
        if not accuracy.get(key):
            notes.append(f"{label}: not measured: {accuracy.get(f'{key}_why') or _never_scored(report)}")
            continue
        measured = accuracy[key]
        rows.append(_accuracy_row(label, measured, metric))
        rows += [_accuracy_row(f"fold {entry['fold']}", entry, metric) for entry in measured.get("each") or []]
        if told := told_divergence(measured):
            notes.append(f"{label}: {told}")
        notes += [f"{label}: {name}: {measured[name + '_why']}" for name in measured if measured.get(f"{name}_why")]
    titles = ["data", "n", "baseline", "artifact", "drop", "drop at most", "flips", "flips at most"]
    return "\n\n".join([*([_table(titles, rows)] if rows else []), *(_text(note) for note in notes)])


def _classes(report: Mapping[str, Any]) -> str:
    """The classes whose drop has the worst bounds."""
    metric, keys = metric_of(report), ("drop", "drop_upper")
    rows = [
        [str(one["class"]), count(one["n"]), *(score(one.get(key), metric) for key in keys)]
        for one in worst_first(report)
    ]
    told = f"{len(rows)} classes" if len(rows) <= _CLASSES_AT_MOST else f"the worst {_CLASSES_AT_MOST} of {len(rows)}"
    return f"By class ({told}):\n\n{_table(['class', 'n', 'drop', 'drop at most'], rows[:_CLASSES_AT_MOST])}"


def _never_scored(report: Mapping[str, Any]) -> str:
    """Why the report has no accuracy at all."""
    return str(report.get("accuracy_why") or "no reason is recorded")


def _accuracy_row(label: str, measured: Mapping[str, Any], metric: str) -> list[str]:
    return [
        label,
        count(measured.get("n")),
        *(score(measured.get(key), metric) for key in ("baseline", "artifact", "drop", "drop_upper")),
        *(percent(measured.get(key)) for key in ("flips", "flips_upper")),
    ]


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    numbers = [title not in ("", "check", "why", "graph", "data", "class") for title in titles]
    lines = [[_text(title) for title in titles], ["--:" if number else "---" for number in numbers]]
    lines += [[_text(cell) or DASH for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _text(text: object) -> str:
    return _SPECIAL.sub(r"\\\1", " ".join(str(text).split())).replace("@", "&#64;")


def _sign(verdict: object) -> str:
    return _SIGNS.get(str(verdict), _UNSURE)
