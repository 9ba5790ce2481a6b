"""How long every layer takes by itself, as it is and in each form that it may be factorized into.

Two small kernels may take longer than the large one that they replace, so nothing is taken for faster that was not timed: each
layer is cut out of the network, factorized in every form and rank, pressed to the precision that ships, and timed with the others
in interleaved blocks. Layers of the same shape are timed once.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import onnx_ir as ir

from foldpress.benchmark.latency import synthetic_feed
from foldpress.benchmark.plan import LatencyPlan
from foldpress.data import Dataset
from foldpress.errors import RequestError
from foldpress.graph import input_specs
from foldpress.latency_cache import LatencyCache
from foldpress.latency_table import pressed_part, time_graphs
from foldpress.optimizer.excerpt import signature
from foldpress.optimizer.factorize.costs import AS_IT_IS, LayerTimes
from foldpress.optimizer.factorize.forms import Option
from foldpress.optimizer.factorize.part import alone, sketched
from foldpress.optimizer.layers import Layer
from foldpress.optimizer.passes import LogEntry
from foldpress.optimizer.press import Press
from foldpress.optimizer.rounds import Rounds
from foldpress.sample_shapes import sample_shapes

_SECONDS = 3.0  # for all forms of one layer together
_WHOLE = "whole"


@dataclass(frozen=True)
class Timed:
    """What was measured, and the log of it."""

    times: LayerTimes
    log: tuple[LogEntry, ...]


def measure_layers(
    press: Press,
    model: ir.Model,
    layers: Mapping[str, tuple[Layer, list[Option]]],
    samples: Dataset,
    plan: LatencyPlan,
    cache: LatencyCache,
) -> Timed:
    """Time a network and its layers in the precision of `press`.

    Args:
        press: what ships.
        model: the network that is factorized.
        layers: those that may be, with their options (`factorizable`).
        samples: real inputs of the whole network.
        plan: where to time; for how long is decided here.
        cache: what is in it is not timed again, what is not is added.
    """
    plan, shapes = replace(plan, processes=1, seconds=_SECONDS), sample_shapes(model)
    times: dict[str, dict[str, float]] = {}
    log = []
    for name, (layer, options) in layers.items():
        try:
            part = alone(model, layer, shapes)
            feed = synthetic_feed(input_specs(part), plan.batch)
        except RequestError as error:
            log.append(LogEntry("latency", name, "declined", f"cannot be timed by itself: {error.problem}"))
            continue
        graphs = {str(option): (part, layer, option) for option in options}
        times[name] = _times(press, part, graphs, feed, plan, cache)
        log.append(LogEntry("latency", name, "done", _told(times[name])))
    return Timed(LayerTimes(_whole(press, model, samples, plan, cache), times), tuple(log))


def _times(
    press: Press,
    part: ir.Model,
    options: Mapping[str, tuple[ir.Model, Layer, Option]],
    feed: Dataset,
    plan: LatencyPlan,
    cache: LatencyCache,
) -> dict[str, float]:
    """Milliseconds of each form, from the cache if it has them all."""
    key = f"factorized {press.describe()} {signature(part, press.keep_float)}"
    known = cache.read(key)
    if not known.keys() >= {AS_IT_IS, *options}:
        graphs = {AS_IT_IS: part} | {name: sketched(*option) for name, option in options.items()}
        known = time_graphs({name: pressed_part(press, graph, feed) for name, graph in graphs.items()}, feed, plan)
        cache.keep({key: known})
    return {name: known[name] for name in (AS_IT_IS, *options)}


def _whole(press: Press, model: ir.Model, samples: Dataset, plan: LatencyPlan, cache: LatencyCache) -> float:
    key = f"{_WHOLE} {press.describe()} {signature(model, press.keep_float)}"
    if _WHOLE not in (known := cache.read(key)):
        known = time_graphs({_WHOLE: press.rough(model, Rounds.undivided(samples).few())}, samples, plan)
        cache.keep({key: known})
    return known[_WHOLE]


def _told(times: Mapping[str, float]) -> str:
    full = times[AS_IT_IS]
    forms: dict[str, list[str]] = {}
    for name, time in times.items():
        if name != AS_IT_IS:
            forms.setdefault(name.split()[0], []).append(f"{name.split()[1]} ({time / full:.2f})")
    return f"{full:.4f} ms; " + "; ".join(f"{form} {', '.join(ranks)}" for form, ranks in forms.items())
