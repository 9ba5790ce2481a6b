"""What a network costs with some of its channels gone: counted, or looked up in latencies that were measured."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import onnx_ir as ir

from foldpress.cost import graph_cost
from foldpress.errors import RequestError
from foldpress.optimizer.allocation import Plan
from foldpress.optimizer.groups import ChannelGroup
from foldpress.optimizer.shares import LayerShares

Counted = Literal["macs", "parameters", "bytes"]  # bytes of stored weights, before quantization
Budget = Literal[Counted, "latency"]


class CountLedger:
    """MACs, parameters or bytes of every layer, in proportion to the inputs and outputs that it has left.

    Raises:
        RequestError: they are not known for some layer.
    """

    def __init__(self, model: ir.Model, kind: Counted, groups: Sequence[ChannelGroup]) -> None:
        layers = graph_cost(model).layers
        unknown = [layer.name for layer in layers if getattr(layer, kind) is None]
        if unknown:
            raise RequestError(f"the {kind} of {', '.join(unknown[:3])} are not known, so no budget can be kept")
        self.kind: str = kind
        self._full = {layer.name: float(getattr(layer, kind)) for layer in layers}
        self.total = sum(self._full.values())
        self._shares = LayerShares(groups)

    def cost(self, plans: Sequence[Plan]) -> float:
        """The sum over all layers."""
        share = self._shares({plan.group.name: len(plan.gone()) for plan in plans})
        return sum(cost * share.get(name, 1.0) for name, cost in self._full.items())


@dataclass(frozen=True)
class Curve:
    """Milliseconds that the layers around one group take, by the number of channels that it has left.

    Only counts that save time are in it, the full one first, each faster than those before it: MACs do not predict time, and
    with fewer channels a kernel may take longer (see `foldpress.latency_table`).
    """

    milliseconds: Mapping[int, float]

    def __post_init__(self) -> None:
        counts, times = list(self.milliseconds), list(self.milliseconds.values())
        falls = all(after < before for row in (counts, times) for before, after in pairwise(row))
        if not falls:
            raise ValueError(f"a curve falls with the number of channels, this one does not: {dict(self.milliseconds)}")


@dataclass(frozen=True)
class Latencies:
    """What was measured for one network: milliseconds of the whole, and a curve for each group, by its name."""

    whole: float
    curves: Mapping[str, Curve]


class LatencyLedger:
    """Time, predicted from curves: exact where one group is cut.

    Where groups meet in a layer, each saves a share 1 − r_g of the time f_g that its own curve has for the layer, and together
    they save the share 1 − Π r_g of the mean of these times, weighted by what each saves:

        Σ_g f_g (1 − r_g) / Σ_g (1 − r_g) · (1 − Π_g r_g)

    Args:
        model: the network before it is cut.
        groups: those that may be cut.
        latencies: measured; a group without a curve is never cut.

    Raises:
        RequestError: see `CountLedger`; a group's time is divided among its layers by their MACs.
    """

    kind = "latency"

    def __init__(self, model: ir.Model, groups: Sequence[ChannelGroup], latencies: Latencies) -> None:
        self._curves, self.total = latencies.curves, latencies.whole
        macs = {layer.name: float(layer.macs or 1) for layer in graph_cost(model).layers}
        # The time that a group's curve has for a layer, by layer and group.
        self._layers: dict[str, dict[str, float]] = {}
        for group in groups:
            if group.name in self._curves:
                layers, full = layers_of(group), self._curves[group.name].milliseconds[group.channels]
                whole = sum(macs[name] for name in layers)
                for name in layers:
                    self._layers.setdefault(name, {})[group.name] = full * macs[name] / whole
        self._channels = {group.name: group.channels for group in groups if group.name in self._curves}

    def cost(self, plans: Sequence[Plan]) -> float:
        """Milliseconds of the whole network."""
        return self.predict({plan.group.name: plan.remaining(plan.taken) for plan in plans})

    def predict(self, widths: Mapping[str, int]) -> float:
        """Milliseconds of the whole network with so many channels left in each group, by its name."""
        left = {
            name: self._curves[name].milliseconds[widths[name]] / self._curves[name].milliseconds[channels]
            for name, channels in self._channels.items()
        }
        return self.total - sum(_saved(times, left) for times in self._layers.values())

    def steps(self, plan: Plan) -> list[int]:
        """How many chunks may go, in ascending order, 0 first: those that leave a count of the group's curve."""
        if plan.group.name not in self._curves:
            return [0]
        counts = self._curves[plan.group.name].milliseconds
        return [taken for taken in range(len(plan.order) + 1) if plan.remaining(taken) in counts]


def _saved(times: Mapping[str, float], left: Mapping[str, float]) -> float:
    """Milliseconds that one layer saves: of its times by group, and the shares of them that are left."""
    gone = {name: 1 - left[name] for name in times}
    if not (total := sum(gone.values())):
        return 0.0
    together = 1 - math.prod(left[name] for name in times)
    return sum(times[name] * gone[name] for name in times) / total * together


def layers_of(group: ChannelGroup) -> set[str]:
    """The names of the layers that become cheaper with a group: what makes its channels, and what reads them."""
    readers = (slot.node for slot in (*group.consumers, *group.meetings, *group.works))
    return {str(node.name) for node in (*group.producers, *group.depthwise, *readers)}
