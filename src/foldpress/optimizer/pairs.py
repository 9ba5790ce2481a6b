"""Pairs: a layer whose rectified outputs are all that a second layer is given, and that alone."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from foldpress.data import Indices
from foldpress.graph import initializer
from foldpress.optimizer.gram import features
from foldpress.optimizer.layers import Layer, Matrices, weighted_layers
from foldpress.optimizer.patches import Rows, columns
from foldpress.optimizer.places import Place, has_bias, only_reader

Weights = tuple[Matrices, Matrices]  # of both layers, [D, M] each, with their biases as a last row where there is place


@dataclass(frozen=True, eq=False)
class Pair:
    """The first layer, what it still has of its features and which of its outputs are still read; and the second."""

    first: Layer
    kept: Indices
    channels: Indices
    second: Place

    def weights(self, model: ir.Model) -> Weights:
        """What `model` stores, of what is left."""
        first = self.first.matrices(model)[0][np.ix_(self.channels, self.kept)]
        second = self.second.layer.matrices(model)[0][:, self.second.kept]
        return (
            _with_bias(model, self.first, first.T, self.channels),
            _with_bias(model, self.second.layer, second.T, np.arange(len(second))),
        )

    def store(self, model: ir.Model, weights: Weights) -> None:
        """Replace it, in place."""
        outputs = np.arange(weights[1].shape[1])
        parts = (self.first, self.channels, self.kept), (self.second.layer, outputs, self.second.kept)
        for (layer, made, summed), before, after in zip(parts, self.weights(model), weights, strict=True):
            whole = layer.matrices(model)
            whole[0][np.ix_(made, summed)] = after[: len(summed)].T
            layer.store(model, whole)
            if len(after) > len(summed):
                change = np.zeros(len(whole[0]))
                change[made] = after[-1] - before[-1]
                layer.add_to_bias(model, change)

    def inputs(self, model: ir.Model, activation: Rows) -> Rows:
        """What the first layer sums over, [n, D], with ones behind it for a bias."""
        found = columns(self.first.slot, activation)[:, self.kept]
        ones = [np.ones((len(found), 1), np.float32)] if has_bias(model, self.first) else []
        return np.concatenate([found, *ones], axis=1)


def pair_of(model: ir.Model, place: Place, kept: Mapping[str, Indices]) -> Pair | None:
    """The pair whose second layer is at this place, or None where it is given something else than a layer's rectified outputs.

    Args:
        model: the pruned graph, with its shapes.
        place: of a layer.
        kept: features that stay, for every layer that loses some, by name.
    """
    relu = place.layer.input.producer()
    if relu is None or relu.op_type != "Relu" or only_reader(place.layer.input) is not place.layer.node:
        return None
    first = next((layer for layer in weighted_layers(model)[0] if _feeds(model, layer, relu)), None)
    if first is None or first.groups > 1 or place.layer.groups > 1 or first.channel_axis != place.layer.channel_axis:
        return None
    taps = features(place.layer.slot) // len(first.matrices(model)[0])
    return Pair(first, kept.get(first.name, np.arange(features(first.slot))), np.unique(place.kept // taps), place)


def _feeds(model: ir.Model, layer: Layer, relu: ir.Node) -> bool:
    """Whether a rectifier is all that reads a layer's outputs, with their bias."""
    reader = only_reader(layer.node.outputs[0])
    if (
        reader is not None
        and reader.op_type == "Add"
        and layer.node.op_type == "MatMul"
        and layer.bias(model) is not None
    ):
        reader = only_reader(reader.outputs[0])
    return reader is relu


def _with_bias(model: ir.Model, layer: Layer, matrix: Matrices, outputs: Indices) -> Matrices:
    if not has_bias(model, layer):
        return matrix
    stored = initializer(model, layer.bias(model))
    return np.vstack([matrix, np.zeros(len(outputs)) if stored is None else stored[outputs]])
