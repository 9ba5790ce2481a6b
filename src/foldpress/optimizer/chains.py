"""Chains: a layer whose channels may each be scaled, and the layers that can take the scale back.

For s > 0, W₂ f(W₁ x + b₁) = (W₂ S) f(S⁻¹ (W₁ x + b₁)) with S = diag(s), as long as f is homogeneous and keeps channels apart:
ReLU, leaky ReLU, pooling, means over places. It is not so for ReLU6, sigmoid or GELU. A normalization may stand in for the first
layer: its weight and bias take S⁻¹, and every layer behind it S, as queries, keys and values do. Decomposed, it ends with a Mul
by a stored vector, and maybe an Add of one.
"""

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from foldpress.graph import initializer, set_initializer
from foldpress.optimizer.layers import Layer, weighted_layers
from foldpress.optimizer.scalable import (
    NORMALIZATIONS,
    WEIGHTED,
    Stored,
    adds,
    attribute,
    starts_normalized,
    step,
    stored_affine,
    stored_vector,
)

ARROW = " → "  # between the ends of a chain's name

Scales = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Chain:
    """Channels from the tensors that make them to the layers that consume them: several only behind a normalization.

    `stored` are the producer's weight and bias by name, with the axis of the channels; `tensors` are the computed tensors in
    between, each with the axis of its channels.
    """

    producer: ir.Node
    consumers: tuple[Layer, ...]
    channels: int
    from_depthwise: bool
    stored: Stored
    tensors: Stored

    @property
    def name(self) -> str:
        """Producer and consumers."""
        return f"{self.producer.name}{ARROW}{', '.join(consumer.name for consumer in self.consumers)}"

    @property
    def normalized(self) -> bool:
        """Whether a normalization makes the channels."""
        return starts_normalized(self.producer)

    @property
    def into_depthwise(self) -> bool:
        """Whether each output of the consumer sees one channel alone, so that its scale is free."""
        return all(consumer.groups == self.channels for consumer in self.consumers)

    @property
    def touches_depthwise(self) -> bool:
        """Whether either layer is a depthwise convolution."""
        return self.into_depthwise or self.from_depthwise

    def columns(self, consumer: Layer, features: int) -> NDArray[np.intp]:
        """The channel of each input of a consumer, [G, D]."""
        taps = features * consumer.groups // self.channels
        return np.repeat(np.arange(self.channels), taps).reshape(consumer.groups, features)


def find_chains(model: ir.Model) -> tuple[list[Chain], list[tuple[str, str]]]:
    """Chains in graph order, and for every other layer or normalization its name and the reason why it starts none."""
    layers = {layer.name: layer for layer in weighted_layers(model)[0]}
    chains, declined = [], []
    for node in model.graph:
        if node.op_type in (*WEIGHTED, *NORMALIZATIONS) or stored_vector(model, node, "Mul") is not None:
            found = _follow(model, node, layers)
            if isinstance(found, Chain):
                chains.append(found)
            else:
                declined.append((str(node.name), found))
    return chains, declined


def rescale(model: ir.Model, chain: Chain, scales: Scales) -> None:
    """Divide the producer's channels by `scales`, [C], and multiply the consumers' inputs by them, in place."""
    for name, axis in chain.stored:
        stored = initializer(model, model.graph.initializers[name])
        assert stored is not None  # noqa: S101  # see stored_affine
        shape = [-1 if index == axis else 1 for index in range(stored.ndim)]
        set_initializer(model, name, (stored / scales.reshape(shape)).astype(stored.dtype))
    for consumer in chain.consumers:
        weight = consumer.matrices(model)
        consumer.store(model, weight * scales[chain.columns(consumer, weight.shape[-1])][:, None, :])


def _follow(model: ir.Model, node: ir.Node, layers: dict[str, Layer]) -> Chain | str:
    """The chain that a node starts, or the reason why there is none."""
    stored = stored_affine(model, node, layers.get(str(node.name)))
    if isinstance(stored, str):
        return stored
    axis = 1 if node.op_type == "Conv" else len(node.outputs[0].shape or ()) - 1
    consumers, tensors, pending = [], [], [(node.outputs[0], axis)]
    while pending:
        value, axis = pending.pop(0)
        uses = list(value.uses())
        if value.is_graph_output() or not uses or (len(uses) > 1 and node.op_type in WEIGHTED):
            return "its channels are an output of the graph, or are used more than once"
        tensors.append((str(value.name), axis))
        for use in uses:
            layer = layers.get(str(use.node.name)) if use.idx == 0 else None
            after = axis if adds(use.node, stored) else step(model, use.node, axis)
            if layer is not None:
                consumers.append((layer, axis))
            elif isinstance(after, str):
                return after if len(uses) == 1 else f"{use.node.op_type} {use.node.name} reads its channels too"
            else:
                pending.append((use.node.outputs[0], after))
    return _ended(model, node, consumers, stored, tensors)


def _ended(
    model: ir.Model, node: ir.Node, ends: list[tuple[Layer, int]], stored: Stored, tensors: list[tuple[str, int]]
) -> Chain | str:
    name, axis = stored[0]
    channels = int((model.graph.initializers[name].shape or ir.Shape([])).numpy()[axis])
    for layer, summed in ends:
        wanted = 1 if layer.node.op_type == "Conv" else len(layer.input.shape or ()) - 1
        if summed != wanted or channels == 1:
            return f"{layer.name} does not sum over its channels"
    from_depthwise = node.op_type == "Conv" and attribute(node, "group", 1) == channels
    return Chain(node, tuple(layer for layer, _ in ends), channels, from_depthwise, stored, tuple(tensors))
