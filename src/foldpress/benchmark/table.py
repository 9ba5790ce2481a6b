"""The one notion of the baseline → artifact table, and of how a figure is written.

The terminal, Markdown and HTML reports all take their rows and their wording from here, so that no two of them can
tell different stories. A figure that could not be measured is None, and is written as a dash, never as 0.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

DASH = "–"
_KILO = 1000


@dataclass(frozen=True)
class GraphRow:
    """One graph of a report: sizes in bytes, p50 in milliseconds, sparsity and accuracy as shares.

    `speedup` is baseline latency / this graph's latency. Latency comes from the report's first provider, batch size and
    thread count; accuracy from the test split.
    """

    name: str
    bytes: int | None
    parameters: int | None
    macs: int | None
    sparsity: float | None
    p50_ms: float | None
    speedup: float | None
    speedup_low: float | None
    speedup_high: float | None
    accuracy: float | None


def summary_rows(report: Mapping[str, Any]) -> list[GraphRow]:
    """One row a graph, the baseline first, in the order of `report["graphs"]`."""
    scores, timed = _scores(report), _timed(report)
    return [
        GraphRow(
            name=name,
            **{key: facts.get(key) for key in ("bytes", "parameters", "macs", "sparsity")},
            **{key: timed.get(name, {}).get(key) for key in ("p50_ms", "speedup", "speedup_low", "speedup_high")},
            accuracy=scores.get(name, facts.get("score")),
        )
        for name, facts in (report.get("graphs") or {}).items()
    ]


def graph_titles(report: Mapping[str, Any]) -> list[str]:
    """What stands above the columns of every table of graphs."""
    sizes = ["graph", "size", "packed", "parameters", "MACs", "sparsity"]
    return [*sizes, "p50", "speedup", f"{metric_of(report)} (test)"]


def headline(report: Mapping[str, Any]) -> str:
    """What the artifact costs and gains, in one sentence; only what was measured is said."""
    rows = summary_rows(report)
    baseline, artifact = rows[:1], [row for row in rows if row.name == report.get("artifact")]
    said = _gains(baseline[0], artifact[0]) if baseline and artifact and baseline != artifact else []
    test = block(report, "accuracy", "test")
    if test.get("drop_upper") is not None:
        bound = score(test["drop_upper"], metric_of(report))
        share = f"{100 * report['confidence']:.4g} % confidence, " if report.get("confidence") else ""
        said.append(f"its {metric_of(report)} drops by at most {bound} ({share}{count(test.get('n'))} test samples)")
    named = str(report.get("artifact") or "the artifact")
    return f"{named} {'; '.join(said)}." if said else f"{named}: no figure against the baseline was measured."


def block(report: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    """A nested table of the report; empty when it, or one above it, is null or absent."""
    found: Any = report
    for key in keys:
        found = (found or {}).get(key)
    return dict(found or {})


def accuracy_blocks(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Key and name of every comparison under `accuracy`: the test split and the folds always, others where there are any."""
    names = {"test": "test split", "folds": "all folds", "refit": "trained anew"}
    found = block(report, "accuracy")
    others = [key for key, part in found.items() if isinstance(part, Mapping) and "drop" in part]
    for key, where in (("whole_set", "test split"), ("whole_set_folds", "all folds")):
        if key in others:
            names[key] = f"{where}, {found[key].get('metric', 'whole-set metric')}"
    return [(key, names.get(key, key)) for key in dict.fromkeys(["test", "folds", *others])]


def told_divergence(measured: Mapping[str, Any]) -> str | None:
    """How far the outputs of a block are apart, in one line; None where that was not measured."""
    found = measured.get("divergence") or {}
    kl = (
        None
        if _absent(found.get("kl_mean"))
        else f"KL {found['kl_mean']:.3g} nats on average, {found['kl_max']:.3g} at most"
    )
    far = (
        None
        if _absent(found.get("largest_difference_max"))
        else f"outputs differ by at most {found['largest_difference_max']:.3g}"
    )
    return "; ".join(filter(None, (kl, far))) or None


def metric_of(report: Mapping[str, Any]) -> str:
    """The metric's name."""
    return str(block(report, "accuracy").get("metric") or "score")


def class_name(value: Any, classes: object) -> str:
    """A class's own name, where the classes have names; else its index, as predictions have it."""
    if isinstance(classes, list) and isinstance(value, int) and 0 <= value < len(classes):
        return str(classes[value])
    return str(value)


def count(value: float | None) -> str:
    """A whole number, with thousands set apart: 272,474."""
    return DASH if _absent(value) else f"{value:,.0f}"


def millions(value: float | None) -> str:
    """A count in millions to three digits: 6.92 M."""
    return DASH if value is None or _absent(value) else f"{_three_digits(value / 1e6)} M"


def kilobytes(size: float | None) -> str:
    """Bytes in kB of 1000 bytes: 352.1 kB."""
    return DASH if size is None or _absent(size) else f"{size / _KILO:,.1f} kB"


def percent(share: float | None) -> str:
    """A share of one, to a hundredth of a percent: 0.28 %."""
    return DASH if share is None or _absent(share) else f"{_signed(100 * share, '.2f')} %"


def milliseconds(duration: float | None) -> str:
    """Milliseconds to three significant digits: 0.861 ms."""
    return DASH if duration is None or _absent(duration) else f"{_three_digits(duration)} ms"


def times(ratio: float | None) -> str:
    """A ratio: 1.70×."""
    return DASH if ratio is None or _absent(ratio) else f"{ratio:,.2f}×"


def times_between(ratio: float | None, low: float | None, high: float | None) -> str:
    """A ratio with its interval where there is one: 1.70× (1.61–1.79)."""
    return times(ratio) if low is None or high is None else f"{times(ratio)} ({low:,.2f}–{high:,.2f})"


def score(value: float | None, metric: str) -> str:
    """A score or a drop: per cent for accuracy, four decimals for any other metric."""
    if value is None or _absent(value):
        return DASH
    return percent(value) if metric == "accuracy" else _signed(value, ".4f")


def check_figure(name: str, value: float | None, metric: str) -> str:
    """A check's value, bound or limit in the unit of the limit that it is named after."""
    if name.startswith("max_bytes"):
        return kilobytes(value)
    if name.startswith("max_latency"):
        return milliseconds(value)
    if name.startswith("min_speedup"):
        return times(value)
    if name.startswith(("max_flips", "max_disagreement")):
        return percent(value)
    if name.startswith(("max_growth", "max_slowdown")):
        return percent(value)
    if name.startswith("max_metric_drop"):
        return score(value, "")
    if name.startswith(("max_drop", "max_class_drop")):
        return score(value, metric)
    return DASH if value is None or _absent(value) else f"{value:,.4g}"


def _gains(baseline: GraphRow, artifact: GraphRow) -> list[str]:
    said = []
    if baseline.bytes and artifact.bytes:
        said.append(
            f"takes {artifact.bytes / baseline.bytes:.1%} of the bytes of {baseline.name}".replace("%", " %", 1)
        )
    if artifact.speedup is not None:
        interval = times_between(artifact.speedup, artifact.speedup_low, artifact.speedup_high)
        said.append(f"its speed is {interval} the baseline's" if said else f"has {interval} the baseline's speed")
    return said


def _scores(report: Mapping[str, Any]) -> dict[str, float | None]:
    test = block(report, "accuracy", "test")
    names = list(report.get("graphs") or {})
    return {str(report.get("artifact")): test.get("artifact"), **{name: test.get("baseline") for name in names[:1]}}


def _timed(report: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The latency of each graph under the first provider, batch size and thread count."""
    entries = report.get("latency") or []
    return {entry["graph"]: entry for entry in entries if setting(entry) == setting(entries[0])}


def setting(entry: Mapping[str, Any]) -> tuple[str, int, int]:
    """What a latency was taken under: provider, batch size, threads."""
    return entry["provider"], entry["batch"], entry["threads"]


def provider_name(provider: str) -> str:
    """A provider without the words that all of them share: CPU."""
    return provider.removesuffix("ExecutionProvider")


def _absent(value: float | None) -> bool:
    return value is None or not math.isfinite(value)


def _signed(value: float, form: str) -> str:
    """With a true minus sign, and never a minus before a zero."""
    text = f"{value:{form}}"
    return text.replace("-", "−") if float(text) else text.removeprefix("-")


def _three_digits(value: float) -> str:
    decimals = max(0, 2 - math.floor(math.log10(value))) if value > 0 else 0
    return f"{value:,.{decimals}f}"
