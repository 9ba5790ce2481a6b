"""Surgery: remove channels of a group from every tensor that holds them."""

import numpy as np
import onnx_ir as ir

from foldpress.data import Indices
from foldpress.graph import initializer, set_initializer
from foldpress.optimizer.groups import ChannelGroup, Slot


def shrink(model: ir.Model, group: ChannelGroup, keep: Indices) -> None:
    """Keep only the channels `keep` (sorted) of `group`, in place.

    Equal to setting the other channels' contributions to zero, since no consumer sees anything else of them.
    """
    for slot in (*group.slots, *group.consumers):
        stored = initializer(model, slot.value)
        assert stored is not None  # noqa: S101  # a slot is a stored tensor
        set_initializer(model, str(slot.value.name), np.take(stored, spread(keep, slot), axis=slot.axis))
    for node in group.depthwise:
        node.attributes["group"] = ir.AttrInt64("group", len(keep))
    for node, entry in group.reshapes:
        _reshape(model, node, entry, len(keep) / group.channels)


def spread(channels: Indices, slot: Slot) -> Indices:
    """Positions along a slot's axis that belong to `channels`."""
    return (channels[:, None] * slot.span + np.arange(slot.span)).ravel()


def forget_shapes(model: ir.Model) -> None:
    """Drop the shapes of computed tensors, which surgery has made untrue; inference finds them again."""
    outputs = set(model.graph.outputs)
    for node in model.graph:
        for value in node.outputs:
            if value not in outputs:
                value.shape = None


def _reshape(model: ir.Model, node: ir.Node, entry: int, ratio: float) -> None:
    shape = initializer(model, node.inputs[1])
    assert shape is not None  # noqa: S101  # only reshapes with a stored shape are in a group
    changed = shape.copy()
    changed[entry] = round(float(shape[entry]) * ratio)
    # The old shape may be shared with a reshape that stays.
    name = f"{node.name}_shape"
    value = ir.Value(name=name, const_value=ir.tensor(changed, name=name), shape=ir.Shape(changed.shape),
                     type=ir.TensorType(ir.DataType.INT64))  # fmt: skip
    model.graph.register_initializer(value)
    node.replace_input_with(1, value)
