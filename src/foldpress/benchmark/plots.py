"""The report's figures: sizes and latency here, drops by fold and changed predictions beside it."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foldpress.benchmark.drops import draw_drops
from foldpress.benchmark.evidence import Evidence, LatencySamples
from foldpress.benchmark.predictions import draw_predictions
from foldpress.benchmark.svg import COLOURS, ROW, Drawing, draw_svg, label
from foldpress.benchmark.table import GraphRow, count, kilobytes, milliseconds, setting, summary_rows

_QUANTILES = np.linspace(0.0, 1.0, 201)
_SHOWN = 0.99  # of the latency samples: one slow outlier would squeeze all others into a line


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


def draw_latency(latency: list[LatencySamples], graphs: list[str], name: str = "latency-0") -> Drawing:
    """The share of runs at most so slow, for each graph of one setting; dots mark p50."""
    runs = {
        one.graph: np.array([run for process in one.samples_ms for row in process for run in row]) for one in latency
    }
    timed = {graph: samples for graph, samples in runs.items() if samples.size}
    if not timed:
        return Drawing(name, "Latency", "No latency was measured.", None)
    order = [*graphs, *(graph for graph in timed if graph not in graphs)]
    colours = {graph: COLOURS[order.index(graph) % len(COLOURS)] for graph in timed}
    first = latency[0]
    where = f"{first.provider}, batch {first.batch}, {first.threads} thread{'s' if first.threads > 1 else ''}"
    caption = (
        "Further left is faster, steeper is steadier; dots mark p50. The slowest 1 % of the slowest graph is cut off."
    )
    height = 2.6 + 0.2 * len(timed)
    svg = draw_svg(name, height, lambda figure: _draw_latency(figure, timed, colours))
    return Drawing(name, f"Latency: {where}", caption, svg)


def _draw_latency(figure: Any, timed: Mapping[str, NDArray[Any]], colours: Mapping[str, str]) -> None:
    axes = figure.subplots()
    for graph, samples in timed.items():
        colour, middle = colours[graph], float(np.median(samples))
        shown = f"{label(graph)}: p50 {milliseconds(middle)}"
        axes.plot(np.quantile(samples, _QUANTILES), 100 * _QUANTILES, color=colour, linewidth=1.8, label=shown)
        axes.plot([middle], [50], "o", color=colour, markersize=6)
    right = max(float(np.quantile(samples, _SHOWN)) for samples in timed.values())
    left = min(float(samples.min()) for samples in timed.values())
    room = 0.03 * (right - left) or 0.03 * right or 1.0  # where all runs took the same time, or none
    axes.set(xlabel="milliseconds", ylabel="% of runs at most so slow", ylim=(0, 101), xlim=(left - room, right + room))
    figure.legend(loc="outside upper left")
