"""Channel groups: which stored tensors must be cut together when channels of one layer go.

A group starts at a layer that makes channels (Conv, Gemm, MatMul), follows them through operators that keep channels
apart, and ends at the layers that consume them. Where channels meet anything else (a residual sum, a graph output, an
operator that is not understood), the layer is left alone, and the reason is kept.
"""

from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from foldpress.graph import initializer

_ELEMENTWISE = {"Relu", "Sigmoid", "Tanh", "Clip", "LeakyRelu", "Elu", "Selu", "HardSigmoid", "HardSwish", "Gelu", "Erf",
                "Softplus", "Mish", "Identity", "Dropout", "Neg", "Abs", "Sqrt", "Exp"}  # fmt: skip
_BROADCAST = {"Add", "Sub", "Mul", "Div", "Pow", "PRelu"}
_POOLING = {"MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"}


@dataclass(frozen=True, eq=False)
class Slot:
    """A stored input of a node with one entry (or `span` consecutive ones) for each channel along `axis`."""

    node: ir.Node
    position: int
    axis: int
    span: int = 1

    @property
    def value(self) -> ir.Value:
        """The stored tensor."""
        found = self.node.inputs[self.position]
        assert found is not None  # noqa: S101  # slots are only made of inputs that are there
        return found


@dataclass(eq=False)
class ChannelGroup:
    """Channels that live and die together: the slots to cut, and the layers that consume the channels."""

    producer: ir.Node
    channels: int
    slots: list[Slot] = field(default_factory=list)
    consumers: list[Slot] = field(default_factory=list)
    depthwise: list[ir.Node] = field(default_factory=list)
    reshapes: list[tuple[ir.Node, int]] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The name of the layer that makes the channels."""
        return str(self.producer.name)


class Entangled(Exception):  # noqa: N818
    """The channels cannot be followed; the message says where and why."""


def find_groups(model: ir.Model) -> tuple[list[ChannelGroup], list[tuple[str, str]]]:
    """Groups in graph order, and for every other layer its name and the reason why it is left alone."""
    groups, declined = [], []
    for node in model.graph:
        if node.op_type in ("Conv", "Gemm", "MatMul"):
            try:
                groups.append(_follow(model, _start(model, node)))
            except Entangled as reason:
                declined.append((str(node.name), str(reason)))
    return groups, declined


def _start(model: ir.Model, node: ir.Node) -> ChannelGroup:
    weight = initializer(model, node.inputs[1])
    if weight is None:
        raise Entangled("its weight is computed, not stored")
    if node.op_type == "Conv" and _attribute(node, "group", 1) != 1:
        raise Entangled("a grouped convolution makes as many channels as it is given")
    if node.op_type == "MatMul" and weight.ndim != 2:
        raise Entangled("its weight is no matrix")
    axis = 0 if node.op_type == "Conv" or _attribute(node, "transB", 0) else 1
    group = ChannelGroup(node, weight.shape[axis], [_slot(model, node, 1, axis)])
    if len(node.inputs) > 2 and node.inputs[2] is not None:
        group.slots.append(_slot(model, node, 2, len(_shape(node.inputs[2])) - 1))
    return group


def _follow(model: ir.Model, group: ChannelGroup) -> ChannelGroup:
    first = group.producer.outputs[0]
    last_axis = len(_shape(first)) - 1
    where = {first: (1 if group.producer.op_type == "Conv" else last_axis, 1)}
    for node in model.graph:
        if any(value in where for value in node.inputs if value is not None):
            position = _step(model, group, node, where)
            if position is not None:
                where[node.outputs[0]] = position
    if any(value in where for value in model.graph.outputs):
        raise Entangled("its channels are an output of the graph")
    if not group.consumers:
        raise Entangled("no layer consumes its channels")
    return group


def _step(
    model: ir.Model, group: ChannelGroup, node: ir.Node, where: dict[ir.Value, tuple[int, int]]
) -> tuple[int, int] | None:
    """Where the channels are after `node`: (axis, span), or None when it consumes them."""
    axis, span = next(where[value] for value in node.inputs if value in where)
    kind = node.op_type
    if kind in _ELEMENTWISE or (kind in _POOLING and axis == 1):
        return axis, span
    if kind in _BROADCAST:
        return _broadcast(model, group, node, where)
    if kind == "BatchNormalization" and axis == 1:
        group.slots += [_slot(model, node, index, 0, span) for index in range(1, 5)]
        return axis, span
    if kind == "Conv" and axis == 1 and span == 1 and node.inputs[0] in where:
        return _convolution(model, group, node)
    if kind in ("Gemm", "MatMul") and node.inputs[0] in where and node.inputs[1] not in where:
        _matrix(model, group, node, axis, span)
        return None
    if kind in ("Flatten", "Reshape") and axis == 1 and node.inputs[0] in where:
        return _flatten(model, group, node, span)
    if kind in ("ReduceMean", "ReduceMax", "ReduceSum"):
        return _reduce(model, node, axis), span
    if kind == "Transpose":
        return list(node.attributes["perm"].as_ints()).index(axis), span
    raise Entangled(f"{kind} {node.name} needs all its channels")


def _broadcast(
    model: ir.Model, group: ChannelGroup, node: ir.Node, where: dict[ir.Value, tuple[int, int]]
) -> tuple[int, int]:
    positions = {where[value] for value in node.inputs if value in where}
    if len(positions) != 1:
        raise Entangled(f"{node.op_type} {node.name} joins its channels in two different layouts")
    axis, span = positions.pop()
    rank = len(_shape(node.outputs[0]))
    for index, value in enumerate(node.inputs):
        if value is None or value in where:
            continue
        if initializer(model, value) is None:
            raise Entangled(f"{node.op_type} {node.name} joins them with another branch")
        own_axis = axis - (rank - len(_shape(value)))
        if own_axis >= 0 and _shape(value)[own_axis] != 1:
            group.slots.append(_slot(model, node, index, own_axis, span))
    return axis, span


def _convolution(model: ir.Model, group: ChannelGroup, node: ir.Node) -> tuple[int, int] | None:
    parts, weight = _attribute(node, "group", 1), initializer(model, node.inputs[1])
    if weight is None:
        raise Entangled(f"the weight of {node.name} is computed")
    if parts == 1:
        group.consumers.append(_slot(model, node, 1, 1))
        return None
    if parts != group.channels or weight.shape[0] != group.channels:
        raise Entangled(f"{node.name} is a grouped convolution")
    group.slots += [_slot(model, node, index, 0) for index in (1, 2)[: len(node.inputs) - 1]]
    group.depthwise.append(node)
    return 1, 1


def _matrix(model: ir.Model, group: ChannelGroup, node: ir.Node, axis: int, span: int) -> None:
    weight = initializer(model, node.inputs[1])
    if weight is None or weight.ndim != 2 or axis != len(_shape(node.inputs[0])) - 1 or _attribute(node, "transA", 0):
        raise Entangled(f"{node.op_type} {node.name} does not sum over its channels by a stored matrix")
    group.consumers.append(_slot(model, node, 1, 1 if _attribute(node, "transB", 0) else 0, span))


def _flatten(model: ir.Model, group: ChannelGroup, node: ir.Node, span: int) -> tuple[int, int]:
    """[N, C, …] to [N, C·…]: each channel becomes a run of consecutive entries."""
    before, after = _shape(node.inputs[0]), _shape(node.outputs[0])
    rest = before[2:]
    sizes = [size for size in rest if isinstance(size, int)]
    if len(after) != 2 or len(sizes) != len(rest) or after[1] != group.channels * span * int(np.prod(sizes)):
        raise Entangled(f"{node.op_type} {node.name} mixes them with other axes")
    if node.op_type == "Reshape":
        shape = initializer(model, node.inputs[1])
        if shape is None:
            raise Entangled(f"the shape of {node.name} is computed")
        if shape[1] > 0:
            group.reshapes.append((node, 1))
    return 1, span * int(np.prod(sizes))


def _reduce(model: ir.Model, node: ir.Node, axis: int) -> int:
    rank = len(_shape(node.inputs[0]))
    stored = initializer(model, node.inputs[1]) if len(node.inputs) > 1 else None
    axes = (
        stored.tolist()
        if stored is not None
        else list(node.attributes["axes"].as_ints())
        if "axes" in node.attributes
        else []
    )
    reduced = {index % rank for index in axes}
    if not reduced or axis in reduced:
        raise Entangled(f"{node.op_type} {node.name} sums over them")
    return axis if _attribute(node, "keepdims", 1) else axis - sum(index < axis for index in reduced)


def _slot(model: ir.Model, node: ir.Node, position: int, axis: int, span: int = 1) -> Slot:
    value = node.inputs[position]
    if initializer(model, value) is None or value is None:
        raise Entangled(f"input {position} of {node.name} is computed, not stored")
    if len(value.uses()) > 1:
        raise Entangled(f"{value.name} is shared by several nodes")
    return Slot(node, position, axis, span)


def _shape(value: ir.Value | None) -> list[int | ir.SymbolicDim]:
    if value is None or value.shape is None:
        raise Entangled(f"the shape of {value.name if value is not None else 'an input'} is not known")
    return list(value.shape)


def _attribute(node: ir.Node, name: str, default: int) -> int:
    return node.attributes[name].as_int() if name in node.attributes else default
