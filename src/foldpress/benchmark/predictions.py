"""The baseline's predictions on the test split against the artifact's: classes that changed, or numbers that moved."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foldpress.benchmark.evidence import Paired
from foldpress.benchmark.labels import counted
from foldpress.benchmark.svg import COLOURS, INK, ROW, STRESS, WIDTH, Drawing, draw_svg, label
from foldpress.benchmark.table import class_name, count, percent

_NAME = "predictions"
_TITLE = "Changed predictions"
_CLASSES_AT_MOST = 30  # beyond, a confusion matrix cannot be read on a page
_COUNTS_AT_MOST = 16  # beyond, unchanged cells no longer have room for a number
_FLIPS_LISTED = 15
_POINTS_AT_MOST = 2000  # of a scatter: more make the page heavy and the figure no clearer

Pairs = Mapping[tuple[Any, Any], int]


def draw_predictions(test: Paired | None, classes: object = None) -> Drawing:
    """What became of the baseline's predictions on the test split: a confusion matrix, or a scatter for numbers."""
    if test is None:
        return Drawing(_NAME, _TITLE, "No test split was scored.", None)
    baseline, artifact = _judged(test)
    if baseline.dtype.kind == "f" or artifact.dtype.kind == "f":
        return _scatter(baseline, artifact)
    names = {value: label(class_name(value, classes)) for value in sorted({*baseline.tolist(), *artifact.tolist()})}
    pairs = Counter(zip(baseline.tolist(), artifact.tolist(), strict=True))
    flips = sum(times for (before, after), times in pairs.items() if before != after)
    told = (
        f"{count(flips)} of {count(len(baseline))} test predictions changed ({percent(flips / max(1, len(baseline)))})."
    )
    return _confusion(told, pairs, names) if len(names) <= _CLASSES_AT_MOST else _flips(told, pairs, names)


def _judged(test: Paired) -> tuple[NDArray[Any], NDArray[Any]]:
    """The predictions before and after in one row; of classes by position those that count."""
    before, after = test.baseline, test.artifact
    if before.ndim > 1 and before.dtype.kind in "iub" and before.shape == test.target.shape:
        where = counted(test.target)
        return before[where], after[where]
    return np.ravel(before), np.ravel(after)


def _confusion(told: str, pairs: Pairs, names: Mapping[Any, str]) -> Drawing:
    caption = f"{told} Rows: what the baseline said; columns: what the artifact says. Red cells are changes."
    height = max(2.4, 1.2 + 0.24 * len(names))
    return Drawing(
        _NAME, _TITLE, caption, draw_svg(_NAME, height, lambda figure: _draw_confusion(figure, pairs, names))
    )


def _draw_confusion(figure: Any, pairs: Pairs, names: Mapping[Any, str]) -> None:
    from matplotlib.patches import Rectangle

    place = {value: index for index, value in enumerate(names)}
    axes, most = figure.subplots(), max(pairs.values())
    for (before, after), times in pairs.items():
        column, row, changed = place[after], place[before], before != after
        colour, alpha = (STRESS, 0.55) if changed else (COLOURS[0], 0.08 + 0.32 * times / most)
        axes.add_patch(Rectangle((column - 0.46, row - 0.44), 0.92, 0.88, color=colour, alpha=alpha, linewidth=0))
        if changed or len(names) <= _COUNTS_AT_MOST:
            weight = "bold" if changed else "normal"
            axes.text(column, row, str(times), ha="center", va="center_baseline", fontsize=8, fontweight=weight)
    axes.set(xlim=(-0.6, len(names) - 0.4), ylim=(len(names) - 0.4, -0.6), xlabel="artifact", ylabel="baseline")
    longest = max(map(len, names.values()))
    axes.set_xticks(range(len(names)), names.values(), rotation=90 if longest * len(names) > WIDTH * 10 else 0)
    axes.set_yticks(range(len(names)), names.values())
    axes.tick_params(length=0, labelsize=9 if len(names) <= _COUNTS_AT_MOST else 7)
    axes.spines[:].set_visible(False)


def _flips(told: str, pairs: Counter[tuple[Any, Any]], names: Mapping[Any, str]) -> Drawing:
    frequent = [(pair, times) for pair, times in pairs.most_common() if pair[0] != pair[1]][:_FLIPS_LISTED]
    if not frequent:
        return Drawing(_NAME, _TITLE, told, None)
    labels = [f"{names[before]} → {names[after]}" for (before, after), _ in frequent]
    bars = [times for _, times in frequent]
    caption = f"{told} The most frequent changes, from the baseline's prediction to the artifact's."
    height = 0.8 + ROW * len(labels)
    return Drawing(_NAME, _TITLE, caption, draw_svg(_NAME, height, lambda figure: _draw_flips(figure, labels, bars)))


def _draw_flips(figure: Any, labels: list[str], bars: list[int]) -> None:
    axes = figure.subplots()
    drawn = axes.barh(range(len(bars)), bars, 0.6, color=STRESS)
    axes.bar_label(drawn, padding=3)
    axes.set_yticks(range(len(labels)), labels)
    axes.set(xticks=[], xlim=(0, 1.15 * max(bars)), title="test predictions changed")
    axes.invert_yaxis()
    axes.tick_params(length=0)
    axes.spines["bottom"].set_visible(False)


def _scatter(baseline: NDArray[Any], artifact: NDArray[Any]) -> Drawing:
    finite = np.isfinite(baseline) & np.isfinite(artifact)
    count_finite = int(finite.sum())
    title = "Predictions, before and after"
    if not count_finite:
        return Drawing(_NAME, title, "No prediction is a finite number.", None)
    kept = np.unique(np.linspace(0, count_finite - 1, min(count_finite, _POINTS_AT_MOST)).astype(int))
    before, after = baseline[finite].astype(float), artifact[finite].astype(float)
    shown = f"{count(len(kept))} of {count(len(baseline))} test predictions"
    caption = f"{shown}. On the dashed line nothing changed; the root mean square change over all is "
    change = float(np.sqrt(np.mean((after - before) ** 2)))
    svg = draw_svg(_NAME, 3.4, lambda figure: _draw_scatter(figure, before[kept], after[kept]))
    return Drawing(_NAME, title, f"{caption}{change:.3g}.", svg)


def _draw_scatter(figure: Any, before: NDArray[Any], after: NDArray[Any]) -> None:
    axes = figure.subplots()
    ends = [min(before.min(), after.min()), max(before.max(), after.max())]
    axes.plot(ends, ends, color=INK, linewidth=0.8, linestyle="--")
    axes.plot(before, after, "o", color=COLOURS[1], markersize=3.5, alpha=0.55, markeredgewidth=0)
    axes.set(xlabel="baseline prediction", ylabel="artifact prediction")
