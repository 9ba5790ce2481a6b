"""Masks: the decision of what goes, apart from how it is made and how it is carried out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from foldpress.data import Indices
from foldpress.graph import add_initializer, copy_graph, initializer, set_initializer
from foldpress.optimizer.follow.following import there
from foldpress.optimizer.groups import NONE, ChannelGroup, Slot, find_groups
from foldpress.optimizer.passes import LogEntry, Pass

MASK = "/foldpress_mask"  # in names of nodes that hide channels where two computed tensors meet


@dataclass(frozen=True, eq=False)
class Masks:
    """What stays.

    Args:
        channels: the channels that stay (sorted), by the name of their group; groups not mentioned stay whole.
        weights: for stored tensors by name, true where a weight stays.
    """

    channels: Mapping[str, Indices] = field(default_factory=dict)
    weights: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)


class MaskingPass(Pass, Protocol):
    """A pass that prunes: its decision and its repair can be had without the surgery."""

    def mask(self, model: ir.Model) -> tuple[Masks, tuple[LogEntry, ...]]:
        """Hide what goes and repair what stays, in place; tensors keep their shapes."""


def gone(slot: Slot, keep: Indices) -> Indices:
    """The positions of a slot that belong to channels of its group that do not stay."""
    return np.flatnonzero((slot.channels != NONE) & ~np.isin(slot.channels, keep))


def masked(model: ir.Model, masks: Masks) -> ir.Model:
    """A copy that computes what is left, in tensors of the same shapes: whatever sums over a channel sees zeros of it."""
    model = copy_graph(model)
    for group in find_groups(model)[0]:
        if group.name in masks.channels:
            mask_group(model, group, masks.channels[group.name])
    for name, stays in masks.weights.items():
        mask_weight(model, name, stays)
    return model


def mask_weight(model: ir.Model, name: str, stays: NDArray[np.bool_]) -> None:
    """Zero single weights of a stored tensor, in place."""
    stored = initializer(model, model.graph.initializers[name])
    assert stored is not None  # noqa: S101  # masks are made of stored tensors
    set_initializer(model, name, np.where(stays, stored, stored.dtype.type(0)))


def mask_group(model: ir.Model, group: ChannelGroup, keep: Indices) -> None:
    """Zero what the consumers of one group see of the channels that go, in place; `model` may be a copy."""
    for slot in group.consumers:
        name = str(slot.value.name)
        stored = np.array(initializer(model, model.graph.initializers[name]))
        np.moveaxis(stored, slot.axis, 0)[gone(slot, keep)] = 0
        set_initializer(model, name, stored)
    for slot in group.meetings:
        factor = np.ones(len(slot.channels), np.float32)
        factor[gone(slot, keep)] = 0
        _scale(model, slot, factor)


def _scale(model: ir.Model, slot: Slot, factor: NDArray[np.float32]) -> None:
    """Multiply an input of a node along an axis."""
    node = next(node for node in model.graph if node.name == slot.node.name)
    value = there(node, slot.position)
    shape = [-1 if axis == slot.axis else 1 for axis in range(len(value.shape or ()))]
    kind = (value.dtype or ir.DataType.FLOAT).numpy()
    stored = add_initializer(model, f"{node.name}{MASK}", factor.reshape(shape).astype(kind))
    product = ir.node("Mul", [value, stored], name=str(stored.name))
    product.outputs[0].name = f"{stored.name}ed"
    product.outputs[0].shape, product.outputs[0].type = value.shape, value.type
    model.graph.insert_before(node, product)
    node.replace_input_with(slot.position, product.outputs[0])


def unmask(model: ir.Model) -> None:
    """Take the products out again that `mask_group` has put in."""
    for node in list(model.graph):
        if MASK in str(node.name) and node.op_type == "Mul":
            node.outputs[0].replace_all_uses_with(there(node, 0))
            model.graph.remove(node, safe=True)
