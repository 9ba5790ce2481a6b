"""The report's figures, by the section that they stand in; sizes are drawn here, each other one in its own module."""

from collections.abc import Callable, Mapping
from typing import Any

from foldpress.benchmark.by_class import draw_classes
from foldpress.benchmark.distributions import draw_latencies
from foldpress.benchmark.drops import draw_drops
from foldpress.benchmark.evidence import Evidence
from foldpress.benchmark.pareto import draw_pareto
from foldpress.benchmark.predictions import draw_predictions
from foldpress.benchmark.speedups import draw_speedups
from foldpress.benchmark.svg import COLOURS, ROW, Drawing, draw_svg, label
from foldpress.benchmark.table import GraphRow, count, kilobytes, summary_rows


def draw_figures(report: Mapping[str, Any], evidence: Evidence) -> dict[str, list[Drawing]]:
    """Every figure, by section: graphs, accuracy, changes, latency (there, one more for each setting)."""
    classes = evidence.facts.get("classes")
    return {
        "graphs": [draw_sizes(report), draw_pareto(report)],
        "accuracy": [draw_drops(report, evidence.folds), draw_classes(report, classes)],
        "changes": [draw_predictions(evidence.test, classes)],
        "latency": [draw_speedups(report), *draw_latencies(report, evidence.latency)],
    }


def draw_sizes(report: Mapping[str, Any]) -> Drawing:
    """Bytes and MACs of each graph, as bars."""
    name, title, rows = "sizes", "Size and work", summary_rows(report)
    if not rows:
        return Drawing(name, title, "No graph was measured.", None)
    caption = "Size of the file, and multiply–accumulates of one inference."
    height = 0.7 + 1.4 * ROW * len(rows)
    return Drawing(name, title, caption, draw_svg(name, height, lambda figure: _draw_sizes(figure, rows)))


def _draw_sizes(figure: Any, rows: list[GraphRow]) -> None:
    left, right = figure.subplots(1, 2, sharey=True)
    figure.get_layout_engine().set(wspace=0.06)
    names = [label(row.name) for row in rows]
    _bars(left, "bytes", names, [row.bytes for row in rows], kilobytes)
    _bars(right, "MACs for one sample", names, [row.macs for row in rows], count)
    left.invert_yaxis()


def _bars(axes: Any, title: str, names: list[str], values: list[int | None], form: Callable[[Any], str]) -> None:
    lengths = [value or 0 for value in values]
    bars = axes.barh(names, lengths, 0.62, color=[COLOURS[index % len(COLOURS)] for index in range(len(names))])
    axes.bar_label(bars, [form(value) for value in values], padding=3)
    axes.set(title=title, xticks=[], xlim=(0, 1.5 * max(*lengths, 1)))
    axes.spines["bottom"].set_visible(False)
    axes.tick_params(left=False)
