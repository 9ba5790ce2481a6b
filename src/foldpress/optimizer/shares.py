"""The share of its work, and of its weights, that every layer is left with when groups lose channels."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir

from foldpress.optimizer.follow.following import there, weight_inputs
from foldpress.optimizer.groups import ChannelGroup, Slot


class LayerShares:
    """Shares for any numbers of channels that go: exact, as all channels of a group take equally many positions everywhere.

    A layer's share is the product over the axes of its weight; the average over its weights where it has several (LSTM); the
    product over the axes of both factors where it multiplies two computed tensors.
    """

    def __init__(self, groups: Sequence[ChannelGroup]) -> None:
        self._groups = [group.name for group in groups]
        self._axes: list[tuple[ir.Node, int, int]] = []
        rows: dict[tuple[ir.Node, int, int], list[float]] = defaultdict(lambda: [0.0] * len(groups))
        for number, group in enumerate(groups):
            for slot in _that_cost(group):
                taken = int((slot.channels == 0).sum())
                rows[slot.node, slot.position, slot.axis][number] = taken / len(slot.channels)
        self._axes = list(rows)
        self._table = np.array([*rows.values()]).reshape(-1, len(groups))

    def __call__(self, gone: Mapping[str, int]) -> dict[str, float]:
        """Share of every layer that some group touches, by its name, for the number of channels that go of each group."""
        left = 1 - self._table @ [gone.get(name, 0) for name in self._groups]
        products: dict[tuple[ir.Node, int], float] = defaultdict(lambda: 1.0)
        for (node, position, _), share in zip(self._axes, left.tolist(), strict=True):
            products[node, position] *= share
        return {str(node.name): _average(node, products) for node in {node for node, _, _ in self._axes}}


def _that_cost(group: ChannelGroup) -> list[Slot]:
    stored = [slot for slot in (*group.slots, *group.consumers) if slot.position in weight_inputs(slot.node)]
    return [*stored, *group.works]


def _average(node: ir.Node, products: Mapping[tuple[ir.Node, int], float]) -> float:
    matrices = weight_inputs(node)
    if not matrices:
        return products[node, 0] * products[node, 1]
    sizes = [int(np.prod((there(node, position).shape or ir.Shape([])).numpy())) for position in matrices]
    return sum(size * products[node, number] for number, size in zip(matrices, sizes, strict=True)) / sum(sizes)
