"""What a channel is worth: in the order of which channels go.

obs: what it costs the layers behind it, refitted (`repair.removal_order`).
activation: ‖w‖² E x² of what consumes it (Wanda's criterion, Sun et al. 2023, arXiv:2306.11695, summed over outputs).
magnitude, l1: the L2 or L1 norm of the weights that make it (Li et al. 2017, arXiv:1608.08710).
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from foldpress.data import Indices
from foldpress.graph import initializer
from foldpress.optimizer.follow.following import weight_inputs
from foldpress.optimizer.gates import has_gates
from foldpress.optimizer.gram import has_gram
from foldpress.optimizer.groups import ChannelGroup, Slot
from foldpress.optimizer.repair import Consumer

Score = Literal["obs", "magnitude", "l1", "activation"]
Costs = NDArray[np.float64]


def possible_score(group: ChannelGroup, asked: Score) -> Score:
    """The score asked for, or the nearest one that what consumes the channels allows."""
    known = [has_gram(slot) or has_gates(slot.node) for slot in group.consumers]
    if asked in ("magnitude", "l1") or (not group.meetings and all(known)):
        return asked
    return "activation" if any(known) else "magnitude"


def channel_costs(model: ir.Model, group: ChannelGroup, consumers: Sequence[Consumer], score: Score) -> Costs:
    """What each channel costs by a score other than obs, [channels]; comparable within the group only."""
    if score == "activation":
        energy = _energy(group, consumers)
        return np.asarray(sum(_squares(model, slot, group.channels) * energy for slot in group.consumers))
    weights = [
        slot for slot in group.slots if slot.node in group.producers and slot.position in weight_inputs(slot.node)
    ]
    weights = weights or group.slots
    return np.asarray(sum(_squares(model, slot, group.channels, absolute=score == "l1") for slot in weights))


def order_of(costs: Costs, chunk: int, least: int) -> list[tuple[Indices, float]]:
    """Chunks of channels, the cheapest first, each with the share of all costs that is gone by then."""
    order = np.argsort(costs, kind="stable")
    share = np.cumsum(costs[order]) / max(float(costs.sum()), float(np.finfo(np.float64).tiny))
    ends = [end for end in range(chunk, len(order) + chunk, chunk) if len(order) - end >= least or least == 0]
    return [(order[end - chunk : end], float(share[min(end, len(order)) - 1])) for end in ends]


def _energy(group: ChannelGroup, consumers: Sequence[Consumer]) -> Costs:
    """The mean square of each channel, as the layers see it that it is known of, [channels]."""
    every = np.arange(group.channels)
    seen = [np.diag(one.hessian)[one.columns(every)].mean(1) for one in consumers]
    return np.asarray(np.mean(seen, axis=0))


def _squares(model: ir.Model, slot: Slot, channels: int, *, absolute: bool = False) -> Costs:
    """The sum of squares, or of magnitudes, of the weights of each channel."""
    stored = initializer(model, slot.value)
    assert stored is not None  # noqa: S101  # a slot is a stored tensor
    rows = np.moveaxis(stored, slot.axis, 0).reshape(len(slot.channels), -1).astype(np.float64)
    totals = (np.abs(rows) if absolute else np.square(rows)).sum(1)
    return np.asarray(np.bincount(slot.channels + 1, totals, channels + 1)[1:])


def score_note(asked: Score, taken: Score) -> str:
    """For the log: why another score was taken than the one asked for."""
    if asked == taken:
        return ""
    return f"; chosen by {taken}, as some of what consumes them is no plain layer"
