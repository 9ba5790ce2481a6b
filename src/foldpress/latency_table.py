"""How the time of a network depends on the widths of its layers: the layers around each group of channels, really timed.

MACs do not predict time. Kernels step at multiples of 4 or 16 channels, and may take longer with fewer; so each group's layers
are cut out of the network, brought to every width that is worth a try, pressed to the precision that ships, and timed in
interleaved blocks. Counts that do not save time over all larger ones are left out: they are never chosen.
"""

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx_ir as ir

from foldpress.benchmark.latency import block_medians, synthetic_feed
from foldpress.benchmark.plan import LatencyPlan
from foldpress.data import Dataset
from foldpress.errors import GraphError, RequestError
from foldpress.graph import input_specs, save_graph
from foldpress.latency_cache import LatencyCache
from foldpress.optimizer.excerpt import at_width, excerpt, find_again, signature
from foldpress.optimizer.groups import ChannelGroup
from foldpress.optimizer.ledger import Curve, Latencies
from foldpress.optimizer.passes import LogEntry
from foldpress.optimizer.press import Press
from foldpress.optimizer.structured import prunable

_COUNTS = 16  # of channels that are tried for a group; kernels step at multiples of 4 and 16
_STEP = 4
_GAIN = 0.99  # a count that takes more of the time than this is noise, and saves nothing
_SECONDS, _WHOLE_SECONDS = 2.0, 1.0
_WHOLE = "whole"


@dataclass(frozen=True)
class Table:
    """What was measured, and the log of it."""

    latencies: Latencies
    log: tuple[LogEntry, ...]


def measure_table(press: Press, samples: Dataset, plan: LatencyPlan, cache: LatencyCache) -> Table:
    """Time a network and the layers around each of its groups at several widths, in the precision of `press`.

    Args:
        press: what the network is, how it is pruned, and what ships.
        samples: real inputs of the whole network.
        plan: where to time; for how long is decided here.
        cache: what is in it is not timed again, what is not is added.
    """
    times: dict[str, dict[int, float]] = {}
    log = []
    for group in prunable(press.model, press.protected)[0]:
        try:
            part = excerpt(press.model, group)
            inside = find_again(part, group)
            feed = synthetic_feed(input_specs(part), plan.batch)
        except RequestError as error:
            log.append(LogEntry("latency", group.name, "declined", f"cannot be timed by itself: {error.problem}"))
            continue
        found = _times(press, part, inside, feed, plan, cache)
        times[group.name] = found
        log.append(LogEntry("latency", group.name, "done", _told(found)))
    curves = {name: Curve(falling(found)) for name, found in times.items()}
    return Table(Latencies(_whole(press, samples, plan, cache), curves), tuple(log))


def counts(group: ChannelGroup) -> list[int]:
    """The numbers of channels to time, the full one first: at most 16, and none at all where the group may go."""
    chunk = step = -(-_STEP // group.width)
    while group.channels > step * _COUNTS:
        step *= 2
    found = list(range(group.channels, min(group.channels, chunk) - 1, -step))
    return found if group.least else [*found, 0]


def falling(times: dict[int, float]) -> dict[int, float]:
    """The counts that save time over all larger ones."""
    kept: dict[int, float] = {}
    for count in sorted(times, reverse=True):
        if not kept or times[count] < _GAIN * min(kept.values()):
            kept[count] = times[count]
    return kept


def _times(
    press: Press, part: ir.Model, group: ChannelGroup, feed: Dataset, plan: LatencyPlan, cache: LatencyCache
) -> dict[int, float]:
    """Milliseconds at each width, from the cache if it has them all."""
    key, widths = f"{press.describe()} {signature(part, press.keep_float)}", counts(group)
    known = {int(count): time for count, time in cache.read(key).items() if count.isdigit()}
    if not known.keys() >= set(widths):
        graphs = {str(count): pressed_part(press, at_width(part, group.name, count), feed) for count in widths}
        measured = time_graphs(graphs, feed, replace(plan, processes=1, seconds=_SECONDS))
        cache.keep({key: measured})
        known = {int(count): time for count, time in measured.items()}
    return {count: known[count] for count in widths}


def pressed_part(press: Press, part: ir.Model, feed: Dataset) -> ir.Model:
    """A part at the precision that ships, or float where that precision has nothing to do in it."""
    try:
        return press.rough(part, feed)
    except GraphError:
        raise
    except RequestError:
        return part


def _whole(press: Press, samples: Dataset, plan: LatencyPlan, cache: LatencyCache) -> float:
    key = f"{_WHOLE} {press.describe()} {signature(press.model, press.keep_float)}"
    if _WHOLE not in (known := cache.read(key)):
        graphs = {_WHOLE: press.unpruned()}
        known = time_graphs(graphs, samples, replace(plan, processes=1, seconds=_WHOLE_SECONDS))
        cache.keep({key: known})
    return known[_WHOLE]


def time_graphs(graphs: dict[str, ir.Model], samples: Dataset, plan: LatencyPlan) -> dict[str, float]:
    """Milliseconds of each graph: that of the first, times the median ratio to it of blocks that stand side by side."""
    with tempfile.TemporaryDirectory(prefix="foldpress.") as folder:
        paths = {name: Path(folder) / f"{number}.onnx" for number, name in enumerate(graphs)}
        for name, graph in graphs.items():
            save_graph(graph, paths[name])
        blocks = {name: np.concatenate(found) for name, found in block_medians(paths, samples, plan).items()}
    first = next(iter(blocks.values()))
    return {name: float(np.median(first) * np.median(found / first)) for name, found in blocks.items()}


def _told(times: dict[int, float]) -> str:
    kept = falling(times)
    full = next(iter(times.values()))
    worth = ", ".join(f"{count} ({time / full:.2f})" for count, time in list(kept.items())[1:])
    slower = [str(count) for count, time in times.items() if time > full / _GAIN]
    parts = [f"{full:.4f} ms with {next(iter(times))} channels"]
    parts.append(f"less with {worth}" if worth else "fewer save no time")
    parts += [f"{', '.join(slower)} would take longer"] if slower else []
    return "; ".join(parts)
