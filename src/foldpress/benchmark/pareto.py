"""What accuracy costs: every graph of the run by size and by latency, and which of them no other one beats."""

from collections.abc import Mapping, Sequence
from typing import Any

from foldpress.benchmark.drops import limit_of
from foldpress.benchmark.svg import COLOURS, INK, STRESS, Drawing, draw_svg, label
from foldpress.benchmark.table import GraphRow, block, metric_of, summary_rows

_NAME, _TITLE = "pareto", "Score against size and latency"
_LEAST_SPAN = 0.01  # of the score: rounding must not fill the height of the figure

Point = tuple[float, float]


def draw_pareto(report: Mapping[str, Any]) -> Drawing:
    """Score over bytes and over p50, with a ring around the artifact, and the gate's margin below the baseline."""
    rows = [row for row in summary_rows(report) if row.accuracy is not None and row.bytes is not None]
    if len(rows) < 2:
        return Drawing(_NAME, _TITLE, "Fewer than two graphs were scored.", None)
    caption = (
        "Left is cheaper, up is better; the ring is the artifact. The line joins the graphs that none other beats."
    )
    return Drawing(_NAME, _TITLE, caption, draw_svg(_NAME, 2.9, lambda figure: _draw(figure, report, rows)))


def unbeaten(points: Sequence[Point]) -> list[Point]:
    """The points (cost, score) that no other one equals or betters in both, in order of cost."""
    return sorted({one for one in points if not any(_beats(other, one) for other in points)})


def _beats(other: Point, one: Point) -> bool:
    return other[0] <= one[0] and other[1] >= one[1] and other != one


def _draw(figure: Any, report: Mapping[str, Any], rows: list[GraphRow]) -> None:
    metric = metric_of(report)
    unit = 100 if metric == "accuracy" else 1
    heights = [unit * (row.accuracy or 0) for row in rows]
    sizes = [None if row.bytes is None else row.bytes / 1000 for row in rows]
    costs = {"kB": sizes, "p50 in ms": [row.p50_ms for row in rows]}
    known = {title: values for title, values in costs.items() if None not in values}
    panels = figure.subplots(1, len(known), sharey=True, squeeze=False)[0]
    least = _least(report, unit)
    for axes, (title, values) in zip(panels, known.items(), strict=True):
        _panel(axes, [(value or 0, height) for value, height in zip(values, heights, strict=True)], rows, report)
        axes.set_xlabel(title)
        if least is not None:
            axes.axhline(least, color=STRESS, linewidth=1.4, linestyle="--", label="margin")
    shown = [*heights, *([] if least is None else [least])]
    room = max(0.12 * (max(shown) - min(shown)), unit * _LEAST_SPAN / 2)
    panels[0].set(ylim=(min(shown) - room, max(shown) + room), ylabel=f"{label(metric)}{', %' if unit > 1 else ''}")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper left", ncols=2)


def _panel(axes: Any, points: list[Point], rows: list[GraphRow], report: Mapping[str, Any]) -> None:
    costs, scores = zip(*unbeaten(points), strict=True)
    axes.step(costs, scores, where="post", color=INK, linewidth=0.6)
    graphs = list(report["graphs"])
    for point, row in zip(points, rows, strict=True):
        colour = COLOURS[graphs.index(row.name) % len(COLOURS)]
        axes.plot(*point, "o", color=colour, markersize=7, label=label(row.name))
        if row.name == report.get("artifact"):
            axes.plot(*point, "o", color=INK, fillstyle="none", markersize=13, markeredgewidth=1.1)
    axes.set_xlim(0, 1.12 * max(cost for cost, _ in points))


def _least(report: Mapping[str, Any], unit: int) -> float | None:
    """The score that lies as far below the baseline as the gate allows."""
    limit, baseline = limit_of(report, "max_drop"), block(report, "accuracy", "test").get("baseline")
    return None if limit is None or baseline is None else unit * (baseline - limit)
