"""The report's figures, as SVG to stand inside an HTML page.

Text and axes take the page's own text colour (`currentColor`), marks take mid-tones that stand out on white and on
black, and every id carries the figure's name, so that several figures share a page without borrowing each other's
clip paths. Two drawings of the same evidence are the same, byte for byte.
"""

import io
import re
import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from foldpress.benchmark.evidence import Evidence, LatencySamples, Paired
from foldpress.benchmark.table import (
    block,
    count,
    kilobytes,
    metric_of,
    milliseconds,
    percent,
    score,
    setting,
    summary_rows,
)

# Each at least 3:1 against white and against #14171c, the page's two backgrounds (WCAG 1.4.11).
COLOURS = ("#6f87a8", "#12977f", "#b9791f", "#9a6fc4", "#b8608f")
STRESS = "#d9534f"
_INK = "#010203"  # stands for the page's text colour until `_inline` puts currentColor in its place
_STYLE = {
    "svg.fonttype": "none", "text.parse_math": False, "font.size": 9.5,
    "axes.titlesize": 9.5, "axes.titlelocation": "left",
    "axes.spines.top": False, "axes.spines.right": False, "axes.linewidth": 0.6, "legend.frameon": False,
    "xtick.major.width": 0.6, "ytick.major.width": 0.6,
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "axes.titlecolor"), _INK),
    **dict.fromkeys(("xtick.color", "ytick.color"), _INK),
}  # fmt: skip
_NO_METADATA = dict.fromkeys(("Date", "Creator", "Format", "Type"))
_WIDTH = 5.2  # inches; at 72 points an inch about half of a desktop page
_ROW = 0.27  # inches of height for each row of a figure that grows with its rows
_CLASSES_AT_MOST = 30  # beyond, a confusion matrix cannot be read on a page
_COUNTS_AT_MOST = 16  # beyond, unchanged cells no longer have room for a number
_FLIPS_LISTED = 15
_POINTS_AT_MOST = 2000  # of a scatter: more make the page heavy and the figure no clearer
_LABEL_AT_MOST = 28  # characters
_ALL = "all folds"
_QUANTILES = np.linspace(0.0, 1.0, 201)
_SHOWN = 0.99  # of the latency samples: one slow outlier would squeeze all others into a line


@dataclass(frozen=True)
class Drawing:
    """One figure. `svg` is None when there is nothing to draw; `caption` then says why."""

    name: str
    title: str
    caption: str
    svg: str | None


@dataclass(frozen=True)
class Drop:
    """A drop with its interval, in the metric's own unit; each end is a one-sided bound. None: too few samples."""

    label: str
    n: int
    drop: float | None
    low: float | None
    high: float | None


def draw_figures(report: Mapping[str, Any], evidence: Evidence) -> list[Drawing]:
    """Sizes, latency (one figure a provider, batch size and thread count), drops by fold, changed predictions."""
    settings = list(dict.fromkeys(setting(vars(samples)) for samples in evidence.latency))
    measured = [[one for one in evidence.latency if setting(vars(one)) == chosen] for chosen in settings]
    names = list(report.get("graphs") or {})
    latencies = [draw_latency(group, names, f"latency-{index}") for index, group in enumerate(measured or [[]])]
    return [
        draw_sizes(report),
        *latencies,
        draw_drops(report, evidence.folds),
        draw_predictions(evidence.test, evidence.facts.get("classes")),
    ]


def draw_sizes(report: Mapping[str, Any]) -> Drawing:
    """Bytes and MACs of each graph, as bars."""
    rows = summary_rows(report)
    if not rows:
        return Drawing("sizes", "Size and work", "No graph was measured.", None)

    def draw(figure: Any) -> None:
        left, right = figure.subplots(1, 2, sharey=True)
        figure.get_layout_engine().set(wspace=0.06)
        colours = [COLOURS[index % len(COLOURS)] for index in range(len(rows))]
        for axes, title, values, form in (
            (left, "bytes", [row.bytes for row in rows], kilobytes),
            (right, "MACs for one sample", [row.macs for row in rows], count),
        ):
            bars = axes.barh([_label(row.name) for row in rows], [value or 0 for value in values], 0.62, color=colours)
            axes.bar_label(bars, [form(value) for value in values], padding=3)
            axes.set(title=title, xticks=[], xlim=(0, 1.5 * max([value or 0 for value in values] + [1])))
            axes.spines["bottom"].set_visible(False)
            axes.tick_params(left=False)
        left.invert_yaxis()

    return Drawing("sizes", "Size and work", "Size of the file, and multiply–accumulates of one inference.",
                   _svg("sizes", 0.7 + 1.4 * _ROW * len(rows), draw))  # fmt: skip


def draw_latency(latency: list[LatencySamples], graphs: list[str], name: str = "latency-0") -> Drawing:
    """The share of runs at most so slow, for each graph of one setting; dots mark p50."""
    runs = {
        one.graph: np.array([run for process in one.samples_ms for row in process for run in row]) for one in latency
    }
    timed = {graph: samples for graph, samples in runs.items() if samples.size}
    if not timed:
        return Drawing(name, "Latency", "No latency was measured.", None)
    order = [*graphs, *(graph for graph in timed if graph not in graphs)]

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        for graph, samples in timed.items():
            colour, middle = COLOURS[order.index(graph) % len(COLOURS)], float(np.median(samples))
            shown = f"{_label(graph)}: p50 {milliseconds(middle)}"
            axes.plot(np.quantile(samples, _QUANTILES), 100 * _QUANTILES, color=colour, linewidth=1.8, label=shown)
            axes.plot([middle], [50], "o", color=colour, markersize=6)
        right = max(float(np.quantile(samples, _SHOWN)) for samples in timed.values())
        left = min(float(samples.min()) for samples in timed.values())
        room = 0.03 * (right - left) or 0.03 * right or 1.0  # where all runs took the same time, or none
        axes.set(
            xlabel="milliseconds", ylabel="% of runs at most so slow", ylim=(0, 101), xlim=(left - room, right + room)
        )
        figure.legend(loc="outside upper left")

    first = latency[0]
    where = f"{first.provider}, batch {first.batch}, {first.threads} thread{'s' if first.threads > 1 else ''}"
    caption = (
        "Further left is faster, steeper is steadier; dots mark p50. The slowest 1 % of the slowest graph is cut off."
    )
    return Drawing(name, f"Latency: {where}", caption, _svg(name, 2.6 + 0.2 * len(timed), draw))


def fold_drops(report: Mapping[str, Any], folds: Paired | None) -> list[Drop]:
    """The drop of each fold, then of all folds, each with an interval for the paired difference.

    Both ends are one-sided bounds at the report's confidence, so the upper one is what a gate compares: 95 % bounds
    make a two-sided 90 % interval. Scores of 0 and 1: Tango's score bound; any other: Student's t on the mean.
    """
    measured, confidence = block(report, "accuracy", "folds"), report.get("confidence")
    drops = []
    for entry in measured.get("each") or []:
        repeat = entry.get("repeat")
        label = f"fold {entry['fold']}" if repeat is None else f"repeat {repeat}, fold {entry['fold']}"
        low, high = None, None
        if folds is not None:
            chosen = (folds.fold == entry["fold"]) & (repeat is None or folds.repeat == repeat)
            low, high = _interval(folds, chosen, confidence)
        drops.append(Drop(label, entry["n"], entry.get("drop"), low, high))
    if measured:
        low = None if folds is None else _interval(folds, np.ones(len(folds), bool), confidence)[0]
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
    unit = 100 if metric == "accuracy" else 1
    limits = (check.get("limit") for check in report.get("checks") or [] if check.get("name") == "max_drop")
    limit = next(limits, None)

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        axes.axvline(0, color=_INK, linewidth=0.6)
        if limit is not None:
            axes.axvline(
                unit * limit, color=STRESS, linewidth=1.4, linestyle="--", label=f"margin {score(limit, metric)}"
            )
            figure.legend(loc="outside upper right")
        for row, one in enumerate(drops):
            pooled = one.label == _ALL
            look = {"color": COLOURS[1 if pooled else 0], "linewidth": 2.4 if pooled else 1.4}
            if one.low is not None and one.high is not None:
                axes.plot([unit * one.low, unit * one.high], [row, row], solid_capstyle="butt", **look)
            axes.plot([unit * (one.drop or 0)], [row], "D" if pooled else "o", markersize=7 if pooled else 5, **look)
        axes.set(xlabel=f"drop of {_label(metric)}{', percentage points' if unit > 1 else ''}  (right is worse)")
        axes.set_yticks(range(len(drops)), [f"{one.label}  (n = {count(one.n)})" for one in drops])
        axes.set_ylim(len(drops) - 0.5, -0.5)
        axes.tick_params(axis="y", length=0)

    level = f" at {100 * report['confidence']:.4g} % confidence" if report.get("confidence") else ""
    caption = (
        f"Baseline minus artifact, each fold scored by the graph made without it. Each end is a one-sided bound{level}."
    )
    return Drawing("folds", title, caption, _svg("folds", 1.2 + _ROW * len(drops), draw))


def draw_predictions(test: Paired | None, classes: object = None) -> Drawing:
    """What became of the baseline's predictions on the test split: a confusion matrix, or a scatter for numbers."""
    title = "Changed predictions"
    if test is None:
        return Drawing("predictions", title, "No test split was scored.", None)
    baseline, artifact = np.ravel(test.baseline), np.ravel(test.artifact)
    if baseline.dtype.kind == "f" or artifact.dtype.kind == "f":
        return _scatter(baseline, artifact)
    names = {value: _class_name(value, classes) for value in sorted({*baseline.tolist(), *artifact.tolist()})}
    pairs = Counter(zip(baseline.tolist(), artifact.tolist(), strict=True))
    flips = sum(times for (before, after), times in pairs.items() if before != after)
    told = (
        f"{count(flips)} of {count(len(baseline))} test predictions changed ({percent(flips / max(1, len(baseline)))})."
    )
    if len(names) <= _CLASSES_AT_MOST:
        caption = f"{told} Rows: what the baseline said; columns: what the artifact says. Red cells are changes."
        draw: Callable[[Any], None] = lambda figure: _draw_confusion(figure, pairs, names)  # noqa: E731
        return Drawing("predictions", title, caption, _svg("predictions", max(2.4, 1.2 + 0.24 * len(names)), draw))
    frequent = [(pair, times) for pair, times in pairs.most_common() if pair[0] != pair[1]][:_FLIPS_LISTED]
    labels = [f"{names[before]} → {names[after]}" for (before, after), _ in frequent]
    if not frequent:
        return Drawing("predictions", title, told, None)
    caption = f"{told} The most frequent changes, from the baseline's prediction to the artifact's."
    bars = [times for _, times in frequent]
    draw = lambda figure: _draw_flips(figure, labels, bars)  # noqa: E731
    return Drawing("predictions", title, caption, _svg("predictions", 0.8 + _ROW * len(labels), draw))


def _draw_confusion(figure: Any, pairs: Mapping[tuple[Any, Any], int], names: Mapping[Any, str]) -> None:
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
    axes.set_xticks(range(len(names)), names.values(), rotation=90 if longest * len(names) > _WIDTH * 10 else 0)
    axes.set_yticks(range(len(names)), names.values())
    axes.tick_params(length=0, labelsize=9 if len(names) <= _COUNTS_AT_MOST else 7)
    axes.spines[:].set_visible(False)


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
        return Drawing("predictions", title, "No prediction is a finite number.", None)
    kept = np.unique(np.linspace(0, count_finite - 1, min(count_finite, _POINTS_AT_MOST)).astype(int))
    before, after = baseline[finite][kept].astype(float), artifact[finite][kept].astype(float)

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        ends = [min(before.min(), after.min()), max(before.max(), after.max())]
        axes.plot(ends, ends, color=_INK, linewidth=0.8, linestyle="--")
        axes.plot(before, after, "o", color=COLOURS[1], markersize=3.5, alpha=0.55, markeredgewidth=0)
        axes.set(xlabel="baseline prediction", ylabel="artifact prediction")

    shown = f"{count(len(kept))} of {count(len(baseline))} test predictions"
    caption = f"{shown}. On the dashed line nothing changed; the root mean square change over all is "
    change = float(np.sqrt(np.mean((artifact[finite].astype(float) - baseline[finite].astype(float)) ** 2)))
    return Drawing("predictions", title, f"{caption}{change:.3g}.", _svg("predictions", 3.4, draw))


def _interval(table: Paired, chosen: NDArray[Any], confidence: float | None) -> tuple[float | None, float | None]:
    """Lower and upper one-sided bound of the mean paired difference; a sample scored several times counts once."""
    from foldpress.benchmark.intervals import mean_upper, tango_upper

    before, after = table.baseline_score[chosen].astype(float), table.artifact_score[chosen].astype(float)
    samples, place = np.unique(table.sample[chosen], return_inverse=True)
    if confidence is None or not len(samples) or not np.isfinite(before - after).all():
        return None, None
    if len(samples) == len(before) and np.isin([before, after], (0, 1)).all():
        lost, gained = int((before > after).sum()), int((after > before).sum())
        return -tango_upper(gained, lost, len(before), confidence), tango_upper(lost, gained, len(before), confidence)
    if len(samples) == 1:  # no spread can be seen in one difference
        return None, None
    differences = np.bincount(place, before - after) / np.bincount(place)
    return -mean_upper(-differences, confidence), mean_upper(differences, confidence)


def _class_name(value: Any, classes: object) -> str:
    """Predictions are class indices; where the classes have names of their own, those are shown."""
    named = isinstance(classes, list) and isinstance(value, int) and 0 <= value < len(classes)
    return _label(classes[value] if named and isinstance(classes, list) else value)


def _label(text: object) -> str:
    """Text that XML can hold and a figure has room for."""
    clean = "".join(letter if letter.isprintable() else "\ufffd" for letter in str(text))
    return clean if len(clean) <= _LABEL_AT_MOST else f"{clean[: _LABEL_AT_MOST - 1]}…"


def _svg(name: str, height: float, draw: Callable[[Any], None]) -> str:
    """An SVG element of a fixed width; `height` in inches. The user's own matplotlib settings do not reach it."""
    from matplotlib import style
    from matplotlib.figure import Figure

    stream = io.StringIO()
    with style.context(["default", {**_STYLE, "svg.hashsalt": name}]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # the reader's browser has the letters
        figure = Figure(figsize=(_WIDTH, height), layout="constrained")
        draw(figure)
        figure.savefig(stream, format="svg", transparent=True, metadata=_NO_METADATA)
    return _inline(stream.getvalue(), name)


def _inline(document: str, name: str) -> str:
    """Matplotlib's SVG file as an element for HTML: no style sheet, no foreign names, ids that are the figure's own."""
    root = ElementTree.fromstring(document)  # noqa: S314 (written a moment ago by matplotlib, whatever the labels say)
    for parent in root.iter():
        for sheet in [child for child in parent if child.tag.endswith("}style")]:
            parent.remove(sheet)  # in a page its rules would apply to everything
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        attributes = {key.rpartition("}")[2]: value for key, value in element.attrib.items()}
        if element.tag == "g":
            attributes.pop("id", None)
        element.attrib = {key: _own(key, value, name) for key, value in attributes.items()}
    width, height = root.attrib.pop("width"), root.attrib.pop("height")
    size = f"--width:{width};--height:{height};stroke-linejoin:round;stroke-linecap:butt"
    root.attrib.update({"role": "img", "aria-labelledby": f"title-{name}", "style": size, "id": f"figure-{name}"})
    return ElementTree.tostring(root, encoding="unicode")


def _own(key: str, value: str, name: str) -> str:
    if key == "id":
        return f"{name}-{value}"
    value = value.replace("url(#", f"url(#{name}-") if key in ("clip-path", "style") else value
    value = f"#{name}-{value[1:]}" if key == "href" else value
    return re.sub(r"font-family: [^;]*;? ?", "", value).replace(_INK, "currentColor") if key == "style" else value
