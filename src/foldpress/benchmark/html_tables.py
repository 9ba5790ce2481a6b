"""The tables of the HTML report: what stands in each cell, and why a figure is missing where one is."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from foldpress.benchmark.by_class import worst_first
from foldpress.benchmark.drops import Drop
from foldpress.benchmark.table import (
    DASH,
    GraphRow,
    accuracy_blocks,
    block,
    class_name,
    count,
    graph_titles,
    kilobytes,
    metric_of,
    milliseconds,
    percent,
    provider_name,
    score,
    summary_rows,
    times,
)


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


def graph_table(report: Mapping[str, Any]) -> Table:
    """Baseline to artifact, one row a graph: sizes, speed, score on the test split."""
    rows = summary_rows(report)
    table = Table([*graph_titles(report), "integer kernels"])
    table.rows = [_graph_row(table, report, row, rows[0]) for row in rows]
    table.strong = {str(report.get("artifact"))}
    return table


def _graph_row(table: Table, report: Mapping[str, Any], row: GraphRow, baseline: GraphRow) -> list[Cell]:
    metric, ships = metric_of(report), row.name == report.get("artifact")
    facts = {**block(report, "graphs", row.name), **vars(row), "p50_ms_why": report.get("latency_why")}
    counts = [("parameters", count), ("macs", count)]
    unscored = None if ships or row is baseline else "only the baseline and the artifact are scored"
    return [
        Cell(row.name, "ships" if ships else ""),
        table.cell(facts, "bytes", kilobytes, _share(row.bytes, baseline.bytes)),
        table.cell(facts, "packed_bytes", kilobytes, _by_others(facts.get("compressed_bytes"))),
        *(table.cell(facts, key, form, _share(facts[key], getattr(baseline, key))) for key, form in counts),
        table.cell(facts, "sparsity", percent),
        table.cell(facts, "p50_ms", milliseconds),
        table.cell(facts, "speedup", times, _between(row.speedup_low, row.speedup_high)),
        table.cell({**facts, "accuracy_why": unscored}, "accuracy", lambda value: score(value, metric)),
        table.cell(facts, "kernels", _integer_kernels, _float_layers(facts.get("kernels"))),
    ]


def _by_others(compressed: Mapping[str, int] | None) -> str:
    return ", ".join(f"{name} {kilobytes(size)}" for name, size in (compressed or {}).items())


def _integer_kernels(kernels: Mapping[str, Any]) -> str:
    return ", ".join(f"{number} {name}" for name, number in kernels["integer"].items()) or "none"


def _float_layers(kernels: Mapping[str, Any] | None) -> str:
    """What a graph with integer kernels runs in float all the same."""
    if not kernels or not kernels["integer"]:
        return ""
    layers = Counter(kernels["float_layers"].values())
    float_ = ", ".join(f"{number} {name}" for name, number in sorted(layers.items()))
    return f"in float: {float_ or 'no layer'}; {kernels['conversions']} conversions"


def accuracy_table(report: Mapping[str, Any], drops: list[Drop]) -> Table:
    """The test split, then all folds and each of them, then any other comparison; `drops` has each fold's interval."""
    accuracy = block(report, "accuracy")
    table = Table(["data", "n", "baseline", "artifact", "drop", "drop at most", "flips", "flips at most"])
    for key, label in accuracy_blocks(report):
        measured = block(report, "accuracy", key)
        if not measured:
            why = accuracy.get(f"{key}_why") or report.get("accuracy_why") or "not measured"
            table.rows.append([Cell(label), *([table.dash(why)] * (len(table.titles) - 1))])
            continue
        table.strong.add(label)
        table.rows.append(_accuracy_row(table, label, measured, metric_of(report)))
        table.rows += _each_fold(table, measured, drops if key == "folds" else [], metric_of(report))
    return table


def _each_fold(table: Table, measured: Mapping[str, Any], drops: list[Drop], metric: str) -> list[list[Cell]]:
    """A row for each fold; names and bounds are those of `drops`, where there are any."""
    rows = []
    for place, entry in enumerate(measured.get("each") or []):
        name, bound = f"fold {entry.get('fold', place)}", {}
        if drops:
            name = drops[place].label
            bound = {"drop_upper": drops[place].high, "drop_upper_why": "too few samples for an interval"}
        rows.append(_accuracy_row(table, name, {**entry, **bound}, metric))
    return rows


def _accuracy_row(table: Table, label: str, measured: Mapping[str, Any], metric: str) -> list[Cell]:
    scores = [table.cell(measured, key, lambda value: score(value, metric)) for key in ("baseline", "artifact", "drop")]
    exact = measured.get("clopper_pearson_upper")
    under = "" if exact is None else f"Clopper–Pearson {score(exact, metric)}"
    bound = table.cell(measured, "drop_upper", lambda value: score(value, metric), under)
    apart = (measured.get("divergence") or {}).get("kl_mean")
    moved = "" if apart is None else f"KL {apart:.2g} nats"
    flips = [table.cell(measured, "flips", percent, moved), table.cell(measured, "flips_upper", percent)]
    return [Cell(label), table.cell(measured, "n", count), *scores, bound, *flips]


def class_table(report: Mapping[str, Any], classes: object) -> Table:
    """One row a class of the test split, the worst bound first."""
    metric, keys = metric_of(report), ("baseline", "artifact", "drop", "drop_upper")
    table = Table(["class", "n", "baseline", "artifact", "drop", "drop at most"])
    for one in worst_first(report):
        figures = [table.cell(one, key, lambda value: score(value, metric)) for key in keys]
        table.rows.append([Cell(class_name(one["class"], classes)), table.cell(one, "n", count), *figures])
    return table


def latency_table(report: Mapping[str, Any]) -> Table:
    """One row a graph and setting: quantiles, speedup, load time, memory, and which provider ran how much.

    A/A is the baseline against itself, where that was timed: an interval without 1 makes every ratio doubtful.
    """
    entries = report.get("latency") or []
    itself = any("aa_ratio" in entry for entry in entries)
    bound = any(entry.get("device_only") for entry in entries)
    titles = ["graph", "where", "runs", "p50", "p90", "p99", "speedup", *(["A/A"] if itself else []), "load"]
    table = Table([*titles, "peak memory", *(["p50 on device"] if bound else []), "placement"])
    table.rows = [_latency_row(table, entry, itself=itself, bound=bound) for entry in entries]
    table.strong = {str(report.get("artifact"))}
    return table


def _latency_row(table: Table, entry: Mapping[str, Any], *, itself: bool, bound: bool) -> list[Cell]:
    placement = [f"{provider_name(name)} {share:.0%}" for name, share in (entry.get("placement") or {}).items()]
    return [
        Cell(entry["graph"]),
        Cell(provider_name(entry["provider"]), f"batch {entry['batch']}, threads {entry['threads']}"),
        table.cell(entry, "n", count),
        *(table.cell(entry, key, milliseconds) for key in ("p50_ms", "p90_ms", "p99_ms")),
        table.cell(entry, "speedup", times, _between(entry.get("speedup_low"), entry.get("speedup_high"))),
        *(
            [table.cell(entry, "aa_ratio", times, _between(entry.get("aa_low"), entry.get("aa_high")))]
            if itself
            else []
        ),
        table.cell(entry, "load_ms", milliseconds),
        table.cell(entry, "peak_rss_mb", lambda size: f"{size:,.1f} MB"),
        *([_on_device(table, entry)] if bound else []),
        Cell(", ".join(placement) or DASH),
    ]


def _on_device(table: Table, entry: Mapping[str, Any]) -> Cell:
    """The median without the copies between host and device, and what it is against the baseline's."""
    found = entry.get("device_only") or {"p50_ms": None, "p50_ms_why": entry.get("device_only_why")}
    return table.cell(found, "p50_ms", milliseconds, times(found["speedup"]) if "speedup" in found else "")


def _share(value: float | None, whole: float | None) -> str:
    return f"{value / whole:.0%}".replace("%", " %") if value and whole and value != whole else ""


def _between(low: float | None, high: float | None) -> str:
    return f"{low:.2f}–{high:.2f}" if low and high else ""
