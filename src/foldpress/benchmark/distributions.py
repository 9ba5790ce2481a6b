"""Where the timed runs of each graph lie: one figure a setting, one histogram a graph, with marks at p50 and p90."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foldpress.benchmark.evidence import LatencySamples
from foldpress.benchmark.svg import COLOURS, INK, Drawing, draw_svg, label
from foldpress.benchmark.table import milliseconds, percent, provider_name, setting

_TITLE = "Latency"
_BINS = 90
_ROOM = 1.3  # times the slowest p90, and
_MOST = 3  # times the slowest p50 are shown: outliers would squeeze everything else into a line
_HEIGHT = 0.72  # of a row, for the tallest bin


@dataclass(frozen=True)
class _Timed:
    """One graph's runs in milliseconds; p90 is None where they are too few for it."""

    graph: str
    runs: NDArray[np.float64]
    p50: float
    p90: float | None
    colour: str


def draw_latencies(report: Mapping[str, Any], latency: list[LatencySamples]) -> list[Drawing]:
    """A figure for each provider, batch size and thread count, in the order in which they were timed."""
    settings = list(dict.fromkeys(setting(vars(one)) for one in latency if one.samples_ms))
    if not settings:
        return [Drawing("latency-0", _TITLE, "No latency was measured.", None)]
    return [
        _draw_setting(report, [one for one in latency if setting(vars(one)) == chosen], f"latency-{index}")
        for index, chosen in enumerate(settings)
    ]


def _draw_setting(report: Mapping[str, Any], latency: list[LatencySamples], name: str) -> Drawing:
    timed = [_timed(report, one) for one in latency if one.samples_ms]
    first, threads = latency[0], latency[0].threads
    where = f"{provider_name(first.provider)}, batch {first.batch}, {threads} thread{'s' if threads > 1 else ''}"
    slow = max(one.p90 if one.p90 is not None else float(one.runs.max()) for one in timed)
    right = min(_ROOM * slow, _MOST * max(one.p50 for one in timed))
    beyond = max(float((one.runs > right).mean()) for one in timed)
    caption = (
        "Further left is faster, narrower is steadier. The line marks p50, the dots p90; each peak has one height."
    )
    caption += f" Slower runs, {percent(beyond)} of a graph's at most, are cut off." if beyond else ""
    svg = draw_svg(name, 0.8 + 0.5 * len(timed), lambda figure: _draw(figure, timed, right))
    return Drawing(name, f"{_TITLE}: {where}", caption, svg)


def _timed(report: Mapping[str, Any], one: LatencySamples) -> _Timed:
    """p90 stands or falls with the report's: where runs are too few there, none is drawn here."""
    rows = [row for row in report.get("latency") or [] if row["graph"] == one.graph]
    p90 = next((row.get("p90_ms") for row in rows if setting(row) == setting(vars(one))), None)
    runs = np.array([run for process in one.samples_ms for row in process for run in row])
    graphs = list(report.get("graphs") or {})
    place = graphs.index(one.graph) if one.graph in graphs else len(graphs)
    return _Timed(one.graph, runs, float(np.median(runs)), p90, COLOURS[place % len(COLOURS)])


def _draw(figure: Any, timed: list[_Timed], right: float) -> None:
    axes = figure.subplots()
    left = min(float(one.runs.min()) for one in timed)
    edges = np.linspace(left - 0.03 * (right - left), right, _BINS + 1)
    for row, one in enumerate(timed):
        heights, _ = np.histogram(one.runs, edges)
        top = row - _HEIGHT * heights / max(1, heights.max())
        axes.stairs(top, edges, baseline=row, fill=True, color=one.colour, alpha=0.75, linewidth=0)
        axes.plot([one.p50, one.p50], [row, row - _HEIGHT], color=INK, linewidth=1.2)
        if one.p90 is not None:
            axes.plot([one.p90, one.p90], [row, row - _HEIGHT], color=INK, linewidth=1.2, linestyle=":")
    axes.set_yticks(range(len(timed)), [_told(one) for one in timed], va="bottom")
    axes.set(xlabel="milliseconds", xlim=(edges[0], right), ylim=(len(timed) - 0.92, -0.85))
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)


def _told(one: _Timed) -> str:
    p90 = "" if one.p90 is None else f"\np90 {milliseconds(one.p90)}"
    return f"{label(one.graph)}\np50 {milliseconds(one.p50)}{p90}"
