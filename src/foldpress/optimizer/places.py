"""Places of repair: the layers behind a cut, each with the value that it is to set right."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from foldpress.data import Indices
from foldpress.graph import initializer
from foldpress.optimizer.gram import MAX_FEATURES, features
from foldpress.optimizer.layers import Layer, weighted_layers
from foldpress.optimizer.patches import Rows


@dataclass(frozen=True, eq=False)
class Place:
    """A layer of the pruned network, the features that it still has, and the value that it is to set right."""

    layer: Layer
    kept: Indices
    value: ir.Value
    rectified: bool


def places(model: ir.Model, kept: Mapping[str, Indices]) -> list[Place]:
    """The layers that lose features or have a cut layer before them, in graph order.

    Args:
        model: the pruned graph, with its shapes.
        kept: features that stay, for every layer that loses some, by name.
    """
    layers = {layer.name: layer for layer in weighted_layers(model)[0]}
    damaged: set[ir.Value] = set()
    found = []
    for node in model.graph:
        name = str(node.name)
        if name not in kept and not any(value in damaged for value in node.inputs):
            continue
        damaged.update(node.outputs)
        if name in layers and (width := features(layers[name].slot)) <= MAX_FEATURES:
            value, rectified = _sum_behind(model, layers[name])
            found.append(Place(layers[name], kept.get(name, np.arange(width)), value, rectified))
    return found


def aim(value: Rows, wanted: Rows, *, rectified: bool) -> Rows:
    """What a value should be: as in the original network, but behind a rectifier, where both are below zero, as it is."""
    return np.where(wanted > 0, wanted, np.minimum(value, 0)) if rectified else wanted


def has_bias(model: ir.Model, layer: Layer) -> bool:
    """Whether there is a place for one."""
    return layer.node.op_type != "MatMul" or layer.bias(model) is not None


def only_reader(value: ir.Value) -> ir.Node | None:
    """The node that alone reads a value."""
    uses = list(value.uses())
    return uses[0].node if len(uses) == 1 and not value.is_graph_output() else None


def _sum_behind(model: ir.Model, layer: Layer) -> tuple[ir.Value, bool]:
    """The layer's output with its bias, or the sum of that and another branch; and whether a rectifier alone reads it."""
    value = layer.node.outputs[0]
    while (node := only_reader(value)) is not None and node.op_type == "Add" and node.outputs[0].shape == value.shape:
        other = next(one for one in node.inputs if one is not value)
        value = node.outputs[0]
        if initializer(model, other) is None:
            break
    reader = only_reader(value)
    return value, reader is not None and reader.op_type == "Relu"
