"""How many times as fast as the baseline each graph is, with its interval: one figure for all settings."""

from collections.abc import Mapping
from typing import Any

from foldpress.benchmark.drops import limit_of
from foldpress.benchmark.svg import COLOURS, INK, ROW, STRESS, Drawing, draw_svg, label
from foldpress.benchmark.table import provider_name, setting, times

_NAME, _TITLE = "speedups", "Speed against the baseline"


def draw_speedups(report: Mapping[str, Any]) -> Drawing:
    """One row a graph and setting, the baseline left out; a dashed line where the gate asks for a speedup."""
    graphs = list(report.get("graphs") or {})
    rows = [row for row in report.get("latency") or [] if row["graph"] != (graphs or [None])[0]]
    rows = [row for row in rows if row.get("speedup") is not None]
    if not rows:
        return Drawing(_NAME, _TITLE, "No speedup was measured.", None)
    level = f" at {100 * report['confidence']:.4g} % confidence" if report.get("confidence") else ""
    caption = f"Ratio of latencies, measured in interleaved blocks; the line is its interval{level}. Right is faster."
    svg = draw_svg(_NAME, 1.2 + 1.5 * ROW * len(rows), lambda figure: _draw(figure, report, rows, graphs))
    return Drawing(_NAME, _TITLE, caption, svg)


def _draw(figure: Any, report: Mapping[str, Any], rows: list[dict[str, Any]], graphs: list[str]) -> None:
    axes, limit = figure.subplots(), limit_of(report, "min_speedup")
    axes.axvline(1, color=INK, linewidth=0.6)
    if limit is not None:
        axes.axvline(limit, color=STRESS, linewidth=1.4, linestyle="--", label=f"at least {times(limit)}")
        figure.legend(loc="outside upper right")
    for place, row in enumerate(rows):
        index = graphs.index(row["graph"]) if row["graph"] in graphs else len(graphs)
        look = {"color": COLOURS[index % len(COLOURS)], "linewidth": 2.4}
        if row.get("speedup_low") is not None and row.get("speedup_high") is not None:
            axes.plot([row["speedup_low"], row["speedup_high"]], [place, place], solid_capstyle="butt", **look)
        axes.plot([row["speedup"]], [place], "D", markersize=6, **look)
        axes.annotate(times(row["speedup"]), (row["speedup"], place), (0, 7), textcoords="offset points", ha="center")
    several = len({setting(row) for row in rows}) > 1
    axes.set_yticks(range(len(rows)), [_told(row, several) for row in rows])
    axes.set(xlabel="times the baseline's speed", ylim=(len(rows) - 0.4, -0.8))
    axes.margins(x=0.12)
    axes.tick_params(axis="y", length=0)


def _told(row: Mapping[str, Any], several: bool) -> str:
    where = f"{provider_name(row['provider'])}, batch {row['batch']}, threads {row['threads']}"
    return f"{label(row['graph'])}\n{where}" if several else label(row["graph"])
