"""Chains: a layer whose channels may each be scaled, and the one layer that can take the scale back.

For s > 0, W₂ f(W₁ x + b₁) = (W₂ S) f(S⁻¹ (W₁ x + b₁)) with S = diag(s), as long as f is homogeneous and keeps channels apart:
ReLU, leaky ReLU, pooling, means over places. It is not so for ReLU6, sigmoid or GELU. A layer normalization may stand in for the
first layer: its weight and bias take S⁻¹.
"""

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from foldpress.graph import initializer, set_initializer
from foldpress.optimizer.layers import Layer, weighted_layers

_HOMOGENEOUS = {"Relu", "LeakyRelu", "Identity"}
_POOLING = {"MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"}
_PRODUCERS = ("Conv", "Gemm", "MatMul", "LayerNormalization")

ARROW = " → "  # between the two layers of a chain's name

Scales = NDArray[np.float64]
Stored = tuple[tuple[str, int], ...]


@dataclass(frozen=True, eq=False)
class Chain:
    """Channels from the tensors that make them to the layer that consumes them.

    `stored` are the producer's weight and bias by name, with the axis of the channels; `tensors` are the computed tensors in
    between, each with the axis of its channels.
    """

    producer: ir.Node
    consumer: Layer
    channels: int
    from_depthwise: bool
    stored: Stored
    tensors: Stored

    @property
    def name(self) -> str:
        """Producer and consumer."""
        return f"{self.producer.name}{ARROW}{self.consumer.name}"

    @property
    def normalized(self) -> bool:
        """Whether a layer normalization makes the channels."""
        return self.producer.op_type == "LayerNormalization"

    @property
    def into_depthwise(self) -> bool:
        """Whether each output of the consumer sees one channel alone, so that its scale is free."""
        return self.consumer.groups == self.channels

    @property
    def touches_depthwise(self) -> bool:
        """Whether either layer is a depthwise convolution."""
        return self.into_depthwise or self.from_depthwise

    def columns(self, features: int) -> NDArray[np.intp]:
        """The channel of each input of the consumer, [G, D]."""
        groups = self.consumer.groups
        taps = features * groups // self.channels
        return np.repeat(np.arange(self.channels), taps).reshape(groups, features)


def find_chains(model: ir.Model) -> tuple[list[Chain], list[tuple[str, str]]]:
    """Chains in graph order, and for every other layer or normalization its name and the reason why it starts none."""
    layers = {layer.name: layer for layer in weighted_layers(model)[0]}
    chains, declined = [], []
    for node in model.graph:
        if node.op_type in _PRODUCERS:
            found = _follow(model, node, layers)
            if isinstance(found, Chain):
                chains.append(found)
            else:
                declined.append((str(node.name), found))
    return chains, declined


def rescale(model: ir.Model, chain: Chain, scales: Scales) -> None:
    """Divide the producer's channels by `scales`, [C], and multiply the consumer's inputs by them, in place."""
    for name, axis in chain.stored:
        stored = initializer(model, model.graph.initializers[name])
        assert stored is not None  # noqa: S101  # see _stored
        shape = [-1 if index == axis else 1 for index in range(stored.ndim)]
        set_initializer(model, name, (stored / scales.reshape(shape)).astype(stored.dtype))
    weight = chain.consumer.matrices(model)
    chain.consumer.store(model, weight * scales[chain.columns(weight.shape[-1])][:, None, :])


def _follow(model: ir.Model, node: ir.Node, layers: dict[str, Layer]) -> Chain | str:
    """The chain that a node starts, or the reason why there is none."""
    stored = _stored(model, node, layers.get(str(node.name)))
    if isinstance(stored, str):
        return stored
    value, tensors = node.outputs[0], []
    axis = 1 if node.op_type == "Conv" else len(value.shape or ()) - 1
    while True:
        if value in model.graph.outputs or len(value.uses()) != 1:
            return "its channels are an output of the graph, or are used more than once"
        tensors.append((str(value.name), axis))
        use = next(iter(value.uses()))
        if str(use.node.name) in layers and use.idx == 0:
            return _ended(model, node, layers[str(use.node.name)], stored, tensors)
        step = axis if _adds(use.node, stored) else _step(model, use.node, axis)
        if isinstance(step, str):
            return step
        value, axis = use.node.outputs[0], step


def _ended(model: ir.Model, node: ir.Node, layer: Layer, stored: Stored, tensors: list[tuple[str, int]]) -> Chain | str:
    name, axis = stored[0]
    channels = int((model.graph.initializers[name].shape or ir.Shape([])).numpy()[axis])
    summed = 1 if layer.node.op_type == "Conv" else len(layer.input.shape or ()) - 1
    if tensors[-1][1] != summed or channels == 1:
        return f"{layer.name} does not sum over its channels"
    from_depthwise = _attribute(node, "group", 1) == channels
    return Chain(node, layer, channels, from_depthwise, stored, tuple(tensors))


def _stored(model: ir.Model, node: ir.Node, layer: Layer | None) -> Stored | str:
    """Weight and bias of a producer with their axis of channels, or why they cannot be scaled."""
    if node.op_type == "LayerNormalization":
        if _attribute(node, "axis", -1) not in (-1, len(node.inputs[0].shape or ()) - 1):  # type: ignore[union-attr]
            return "it normalizes over more than the last axis"
        found = [(value, 0) for value in node.inputs[1:] if value is not None]
    elif layer is None:
        return "its weight is computed, shared or of no kind that is known"
    else:
        bias = layer.bias(model)
        found = [(layer.weight, 1 if layer.transposed else 0)]
        found += [] if bias is None else [(bias, max(len(bias.shape or ()) - 1, 0))]
    if any(initializer(model, value) is None or len(value.uses()) > 1 for value, _ in found):
        return "its weight or bias is computed, or shared with another layer"
    sizes = {(*value.shape.numpy(), 0)[axis] for value, axis in found if value.shape is not None}
    if len(sizes) > 1:
        return "its bias is not of one number a channel"
    return tuple((str(value.name), axis) for value, axis in found)


def _adds(node: ir.Node, stored: Stored) -> bool:
    """Whether a node adds the producer's own bias."""
    names = {name for name, _ in stored}
    return node.op_type == "Add" and any(value is not None and value.name in names for value in node.inputs)


def _step(model: ir.Model, node: ir.Node, axis: int) -> int | str:
    """The channels' axis behind a node, or the reason why no scale passes it."""
    shape = list(node.inputs[0].shape or ()) if node.inputs[0] is not None else []
    if node.op_type in _HOMOGENEOUS or (node.op_type in _POOLING and axis == 1):
        return axis
    if node.op_type == "Transpose" and "perm" in node.attributes:
        return list(node.attributes["perm"].as_ints()).index(axis)
    if node.op_type in ("Flatten", "Reshape"):
        after = node.outputs[0].shape
        only_places = axis == 1 and all(size == 1 for size in shape[2:])
        if only_places and after is not None and len(after) == 2 and after[1] == shape[1]:
            return 1
    if node.op_type == "ReduceMean" and axis == 1:
        stored = initializer(model, node.inputs[1]) if len(node.inputs) > 1 else None
        axes = stored.tolist() if stored is not None else _axes(node)
        if axes and not {0, 1} & {index % len(shape) for index in axes}:
            return 1
    return f"{node.op_type} {node.name} is not homogeneous, or mixes channels"


def _axes(node: ir.Node) -> list[int]:
    return list(node.attributes["axes"].as_ints()) if "axes" in node.attributes else []


def _attribute(node: ir.Node, name: str, default: int) -> int:
    return node.attributes[name].as_int() if name in node.attributes else default
