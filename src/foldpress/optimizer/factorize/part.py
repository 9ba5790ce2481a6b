"""One layer as a graph of its own, as it is and as each option would make it: what is counted, and what is timed."""

import math

import numpy as np
import onnx_ir as ir

from foldpress.errors import RequestError
from foldpress.graph import add_initializer, copy_graph
from foldpress.optimizer.factorize.chain import Chain
from foldpress.optimizer.factorize.form import weight_shape
from foldpress.optimizer.factorize.forms import Option
from foldpress.optimizer.factorize.product import Product
from foldpress.optimizer.layers import Layer
from foldpress.sample_shapes import Shapes


def alone(model: ir.Model, layer: Layer, shapes: Shapes) -> ir.Model:
    """A graph of one layer, whose input has samples first: a matrix that gets [rows · samples, D] is given [samples, rows, D].

    Args:
        model: a graph with shapes.
        layer: one of its layers.
        shapes: of its tensors for one sample, see `foldpress.sample_shapes`.

    Raises:
        RequestError: the shape of what the layer reads is not known.
    """
    given = shapes.get(str(layer.input.name), (None,))
    if None in given:
        raise RequestError(f"the shape of {layer.input.name}, which {layer.name} reads, is not known before running")
    graph = ir.convenience.extract(model.graph, [layer.input], [layer.node.outputs[0]])
    part = ir.Model(graph, ir_version=model.ir_version)
    value = part.graph.inputs[0]
    if layer.node.op_type == "Conv":
        value.shape = ir.Shape(["N", *given[1:]])
        return part
    value.shape = ir.Shape(["N", math.prod(size or 0 for size in given[:-1]), given[-1]])
    flat = layer.node.op_type == "Gemm"
    part.graph.outputs[0].shape = ir.Shape([None] * (2 if flat else 3))
    if flat:
        _flatten(part, value, int(given[-1] or 0))
    return part


def _flatten(part: ir.Model, value: ir.Value, width: int) -> None:
    """A Gemm takes [rows, D] alone."""
    node = next(iter(part.graph))
    flat = ir.node("Reshape", [value, add_initializer(part, "rows", np.array([-1, width]))], name="rows")
    flat.outputs[0].type, flat.outputs[0].shape = value.type, ir.Shape([None, width])
    part.graph.insert_before(node, flat)
    node.replace_input_with(0, flat.outputs[0])


def sketched(part: ir.Model, layer: Layer, option: Option) -> ir.Model:
    """A copy with a layer factorized, its factors drawn at random: good for counting and timing."""
    empty = option.form.empty(weight_shape(layer), option.rank)
    generator = np.random.default_rng(0)
    drawn = tuple(generator.standard_normal(factor.shape) / np.sqrt(factor[0].size) for factor in empty.factors)
    made = copy_graph(part)
    replace_layer(made, layer, option, Product(empty.spec, drawn))
    return made


def replace_layer(model: ir.Model, layer: Layer, option: Option, product: Product) -> None:
    """Put a chain in the place of one layer, in place."""
    chain = Chain(model, layer)
    option.form.build(chain, product)
    chain.finish()
