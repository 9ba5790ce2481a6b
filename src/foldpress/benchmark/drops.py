"""The drop of each held-out fold and of all folds, with the interval that the samples allow; and their figure."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foldpress.benchmark.accuracy import drop_upper
from foldpress.benchmark.evidence import Paired
from foldpress.benchmark.svg import COLOURS, INK, ROW, STRESS, Drawing, draw_svg, label
from foldpress.benchmark.table import block, count, metric_of, score

DRAWN_AT_MOST = 30  # rows: beyond, a figure is longer than a page; the table has all of them
_ALL = "all folds"


@dataclass(frozen=True)
class Drop:
    """A drop with its interval, in the metric's own unit; each end is a one-sided bound. None: too few samples."""

    label: str
    n: int
    drop: float | None
    low: float | None
    high: float | None


def fold_drops(report: Mapping[str, Any], folds: Paired | None) -> list[Drop]:
    """The drop of each fold, then of all folds, each with an interval for the paired difference.

    Both ends are one-sided bounds at the report's confidence, so the upper one is what a gate compares: 95 % bounds
    make a two-sided 90 % interval, taken as the gate's is (see `accuracy.drop_upper`), groups aside.
    """
    measured, confidence = block(report, "accuracy", "folds"), report.get("confidence")
    each = measured.get("each") or []
    repeated = len({entry.get("repeat") for entry in each}) > 1
    classes = measured.get("flips") is not None
    drops = [_one_fold(entry, folds, confidence, classes=classes, repeated=repeated) for entry in each]
    if measured:
        low = None if folds is None else _interval(folds, np.ones(len(folds), bool), confidence, classes=classes)[0]
        # The reported bound also counts the spread between folds, so it may be the wider one.
        drops.append(Drop(_ALL, measured["n"], measured.get("drop"), low, measured.get("drop_upper")))
    return drops


def draw_drops(report: Mapping[str, Any], folds: Paired | None) -> Drawing:
    """The drop of each fold and of all, with intervals, and the margin where the gate has one."""
    drops = [one for one in fold_drops(report, folds) if one.drop is not None]
    title = "Drop by fold"
    if not drops:
        return Drawing("folds", title, "No folds were scored.", None)
    metric = metric_of(report)
    limit = limit_of(report, "max_drop")
    level = f" at {100 * report['confidence']:.4g} % confidence" if report.get("confidence") else ""
    caption = (
        f"Baseline minus artifact, each fold scored by the graph made without it. Each end is a one-sided bound{level}."
    )
    if len(drops) > DRAWN_AT_MOST:
        caption += f" The worst {DRAWN_AT_MOST - 1} of {len(drops) - 1} folds."
        drops = [*sorted(drops[:-1], key=lambda one: -(one.high or math.inf))[: DRAWN_AT_MOST - 1], drops[-1]]
    height = 1.2 + ROW * len(drops)
    return Drawing(
        "folds", title, caption, draw_svg("folds", height, lambda figure: draw_intervals(figure, drops, metric, limit))
    )


def limit_of(report: Mapping[str, Any], check: str) -> float | None:
    """The limit of a check of that name, where the gate has one."""
    return next((one.get("limit") for one in report.get("checks") or [] if one.get("name") == check), None)


def draw_intervals(figure: Any, drops: list[Drop], metric: str, limit: float | None) -> None:
    """One row a drop, its interval as a line; the margin, if there is one, as a dashed line across."""
    unit = 100 if metric == "accuracy" else 1
    axes = figure.subplots()
    axes.axvline(0, color=INK, linewidth=0.6)
    if limit is not None:
        axes.axvline(unit * limit, color=STRESS, linewidth=1.4, linestyle="--", label=f"margin {score(limit, metric)}")
        figure.legend(loc="outside upper right")
    for row, one in enumerate(drops):
        pooled = one.label == _ALL
        look = {"color": COLOURS[1 if pooled else 0], "linewidth": 2.4 if pooled else 1.4}
        if one.low is not None and one.high is not None:
            axes.plot([unit * one.low, unit * one.high], [row, row], solid_capstyle="butt", **look)
        axes.plot([unit * (one.drop or 0)], [row], "D" if pooled else "o", markersize=7 if pooled else 5, **look)
    axes.set(xlabel=f"drop of {label(metric)}{', percentage points' if unit > 1 else ''}  (right is worse)")
    axes.set_yticks(range(len(drops)), [f"{one.label}  (n = {count(one.n)})" for one in drops])
    axes.set_ylim(len(drops) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)


def _one_fold(
    entry: Mapping[str, Any], folds: Paired | None, confidence: float | None, *, classes: bool, repeated: bool
) -> Drop:
    repeat, low, high = entry.get("repeat"), None, None
    if folds is not None:
        chosen = (folds.fold == entry["fold"]) & (repeat is None or folds.repeat == repeat)
        low, high = _interval(folds, chosen, confidence, classes=classes)
    name = f"fold {entry['fold']}" if not repeated else f"repeat {repeat}, fold {entry['fold']}"
    return Drop(name, entry["n"], entry.get("drop"), low, high)


def _interval(
    table: Paired, chosen: NDArray[Any], confidence: float | None, *, classes: bool
) -> tuple[float | None, float | None]:
    """Lower and upper one-sided bound of the mean paired difference; a sample scored several times counts once."""
    before, after = table.baseline_score[chosen].astype(float), table.artifact_score[chosen].astype(float)
    samples, place = np.unique(table.sample[chosen], return_inverse=True)
    if confidence is None or not len(samples) or not np.isfinite(before - after).all():
        return None, None
    binary = classes or bool(np.isin([before, after], (0, 1)).all())
    if len(samples) == 1 and not binary:  # no spread can be seen in one difference
        return None, None
    lost = np.bincount(place, before - after) / np.bincount(place)
    return -drop_upper(-lost, confidence, binary=binary), drop_upper(lost, confidence, binary=binary)
