"""Surgery: a chain of smaller nodes in the place of one layer."""

from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from foldpress.graph import add_initializer
from foldpress.optimizer.layers import Layer

Array = NDArray[np.float64]


class Chain:
    """Nodes one behind the other, from a layer's input on; `finish` puts them in its place.

    Args:
        model: a graph that has a node of the layer's name.
        layer: found in `model` or in the graph that it is a copy of.

    `leading` are the axes of the layer's input before its last one.
    """

    def __init__(self, model: ir.Model, layer: Layer) -> None:
        self._model, self.layer = model, layer
        self.node = next(node for node in model.graph if node.name == layer.name)
        self._nodes: list[ir.Node] = []
        value = self.node.inputs[0]
        assert value is not None  # noqa: S101  # see weighted_layers
        self._value, self._type = value, value.type
        self.leading = len(value.shape or ()) - 1

    @property
    def bias(self) -> ir.Value | None:
        """What the layer itself adds to its products."""
        inputs = self.node.inputs
        return inputs[2] if self.node.op_type in ("Conv", "Gemm") and len(inputs) > 2 else None

    def add(self, operator: str, *inputs: ir.Value | None, **attributes: Any) -> None:
        """A node that reads the end of the chain, and then `inputs`."""
        given = {name: value for name, value in attributes.items() if value is not None}
        name = f"{self.node.name}/{len(self._nodes) + 1}"
        last = inputs[:-1] if inputs and inputs[-1] is None else inputs
        node = ir.node(operator, [self._value, *last], attributes=given, name=name)
        node.outputs[0].name, node.outputs[0].type = f"{self.node.outputs[0].name}/{len(self._nodes) + 1}", self._type
        self._nodes.append(node)
        self._value = node.outputs[0]

    def weight(self, array: Array) -> ir.Value:
        """A stored weight for the next node."""
        return add_initializer(self._model, f"{self.node.name}/{len(self._nodes) + 1}.weight", array.astype(np.float32))

    def convolve(self, weight: Array, bias: ir.Value | None = None, **attributes: Any) -> None:
        """A Conv; attributes that are None are left out."""
        self.add("Conv", self.weight(weight), bias, kernel_shape=list(weight.shape[2:]), **attributes)

    def multiply(self, weight: Array, bias: ir.Value | None = None) -> None:
        """The end of the chain times a matrix [inputs, outputs], by the operator that the layer has."""
        if self.node.op_type == "Gemm":
            self.add("Gemm", self.weight(weight), bias)
        else:
            self.add("MatMul", self.weight(weight))

    def reshape(self, *sizes: int) -> None:
        """Give the last axes other sizes; the `leading` ones stay."""
        shape = add_initializer(self._model, f"{self.node.name}/{len(self._nodes) + 1}.shape",
                                np.array([0] * self.leading + list(sizes), np.int64))  # fmt: skip
        self.add("Reshape", shape)

    def finish(self) -> None:
        """Replace the layer; what it read and nobody else does goes too."""
        graph, old = self._model.graph, self.node.outputs[0]
        graph.insert_before(self.node, self._nodes)
        self._value.shape, self._value.type = old.shape, old.type
        name = old.name
        old.replace_all_uses_with(self._value, replace_graph_outputs=True)
        weight = self.node.inputs[1]
        graph.remove(self.node, safe=True)
        old.name, self._value.name = None, name
        if weight is not None and not weight.uses() and not weight.is_graph_output():
            graph.initializers.pop(str(weight.name), None)


def strided(layer: Layer, axes: slice = slice(None)) -> dict[str, Any]:
    """A convolution's attributes, along some of its spatial axes and as of a single tap along the others."""
    spatial = len(layer.weight.shape or ()) - 2
    chosen = range(spatial)[axes]
    attributes = layer.node.attributes
    automatic = attributes.get_string("auto_pad", "NOTSET")
    pads = list(attributes.get_ints("pads", [0] * 2 * spatial))
    found = {name: list(attributes.get_ints(name, [1] * spatial)) for name in ("strides", "dilations")}
    kept = {name: [size if axis in chosen else 1 for axis, size in enumerate(sizes)] for name, sizes in found.items()}
    if automatic != "NOTSET":
        return {**kept, "auto_pad": automatic}
    return {**kept, "pads": [size if axis % spatial in chosen else 0 for axis, size in enumerate(pads)]}
