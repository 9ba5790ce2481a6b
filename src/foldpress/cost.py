"""What a graph costs: parameters, multiply-accumulates (MACs) and bytes, by layer and in all.

MACs are counted for one sample, in the operators that multiply matrices; everything else is negligible beside them.
A stored integer weight counts as the weight that it stands for; scales, zero points and shapes are not parameters.
"""

import math
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from onnxscript.optimizer import fold_constants

from foldpress.codebook_weights import codebook, stored_places
from foldpress.contrib import use_standard_operators
from foldpress.einsum import letters_of, multiplications
from foldpress.external import light_proto
from foldpress.graph import copy_graph, initializer
from foldpress.matmul_nbits import DOMAIN, OPERATOR, stored_integers

# Positions of inputs that hold scales and zero points, by operator.
_SCALES = {
    "QuantizeLinear": (1, 2),
    "DequantizeLinear": (1, 2),
    "MatMulInteger": (2, 3),
    "ConvInteger": (2, 3),
    "QLinearConv": (1, 2, 4, 5, 6, 7),
    "QLinearMatMul": (1, 2, 4, 5, 6, 7),
    "QGemm": (1, 2, 4, 5, 7, 8),
    "DynamicQuantizeLSTM": (8, 9, 10, 11),
    "MatMulNBits": (2, 3),
}
_PAIR = ("QuantizeLinear", "DequantizeLinear")
_NOT_WEIGHTS = {ir.DataType.INT64, ir.DataType.BOOL, ir.DataType.STRING}
_SMALL = {ir.DataType.INT2, ir.DataType.INT4, ir.DataType.INT8}
# Operators that multiply matrices: what they compute, and where their second operand stands.
MATRIX_OPERATORS = {
    "Conv": ("Conv", 1),
    "ConvInteger": ("Conv", 1),
    "QLinearConv": ("Conv", 3),
    "ConvTranspose": ("ConvTranspose", 1),
    "Gemm": ("Gemm", 1),
    "QGemm": ("Gemm", 3),
    "MatMul": ("MatMul", 1),
    "MatMulInteger": ("MatMul", 1),
    "QLinearMatMul": ("MatMul", 3),
    "MatMulNBits": ("MatMul", 1),
    "LSTM": ("recurrent", 1),
    "GRU": ("recurrent", 1),
    "RNN": ("recurrent", 1),
    "DynamicQuantizeLSTM": ("recurrent", 1),
    "Einsum": ("Einsum", 1),
    "Attention": ("attention", 1),
    "MultiHeadAttention": ("attention", 1),
}

Sizes = tuple[int | None, ...]
Shapes = dict[str, Sizes]


@dataclass(frozen=True)
class LayerCost:
    """One matrix operator. `macs` is None where a shape is unknown; `precision` is that of its stored weight."""

    name: str
    operator: str
    weight_shape: tuple[int, ...]
    parameters: int
    macs: int | None
    bytes: int
    sparsity: float
    precision: str


@dataclass(frozen=True)
class GraphCost:
    """A whole graph. `macs_why` says why MACs are unknown, where they are."""

    parameters: int
    macs: int | None
    macs_why: str | None
    sparsity: float
    operators: dict[str, int]
    layers: tuple[LayerCost, ...]


def graph_cost(model: ir.Model) -> GraphCost:
    """Count parameters, MACs, zeros and operators."""
    shapes = sample_shapes(model)
    layers = tuple(_layer(model, node, shapes) for node in model.graph if node.op_type in MATRIX_OPERATORS)
    unknown = [layer.name for layer in layers if layer.macs is None]
    weights = _weights(model)
    total = sum(int(np.prod(_weight_shape(value))) for value in weights)
    zeros = sum(_zeros(model, value) for value in weights)
    return GraphCost(
        parameters=total,
        macs=None if unknown else sum(layer.macs or 0 for layer in layers),
        macs_why=f"the shapes at {', '.join(unknown[:3])} are not known before running" if unknown else None,
        sparsity=zeros / total if total else 0.0,
        operators=dict(sorted(Counter(node.op_type for node in model.graph).items())),
        layers=layers,
    )


def layer_entries(cost: GraphCost) -> list[dict[str, Any]]:
    """The layers as plain JSON values."""
    return [{**layer.__dict__, "weight_shape": list(layer.weight_shape)} for layer in cost.layers]


def sample_shapes(model: ir.Model) -> Shapes:
    """The shape of every tensor for one sample, as far as shape inference finds it."""
    shapes = _inferred(light_proto(model)[0])
    if any(None in shapes.get(str(node.outputs[0].name), (None,)) for node in model.graph):
        # A graph that computes its own shapes: with one sample they are constants, and can be folded.
        shapes = _inferred(light_proto(_folded_for_one(model))[0]) | {k: v for k, v in shapes.items() if None not in v}
    return shapes


def _folded_for_one(model: ir.Model) -> ir.Model:
    model = copy_graph(model)
    for value in model.graph.inputs:
        if value.shape is not None and len(value.shape):
            value.shape = ir.Shape([1, *value.shape[1:]])
    for value in (*model.graph.outputs, *(output for node in model.graph for output in node.outputs)):
        value.shape = None
    fold_constants(model, onnx_shape_inference=True)
    return model


def _inferred(proto: onnx.ModelProto) -> Shapes:
    del proto.graph.value_info[:]
    initializers = {tensor.name for tensor in proto.graph.initializer}
    for value in proto.graph.input:
        dimensions = value.type.tensor_type.shape.dim
        if value.name not in initializers and len(dimensions):
            dimensions[0].dim_value = 1
    for value in proto.graph.output:  # a stored free sample axis would contradict the one sample asked for
        value.type.tensor_type.ClearField("shape")
    use_standard_operators(proto.graph)
    inferred = onnx.shape_inference.infer_shapes(proto, data_prop=True)
    known = [*inferred.graph.input, *inferred.graph.value_info, *inferred.graph.output]
    shapes: Shapes = {value.name: _dimensions(value) for value in known if value.type.tensor_type.HasField("shape")}
    shapes.update({tensor.name: tuple(tensor.dims) for tensor in proto.graph.initializer})
    return shapes


def stored_weight(model: ir.Model, value: ir.Value | None) -> ir.Value | None:
    """The stored tensor that a node's weight comes from, behind Q/DQ, scaled integers and codebooks; None if computed."""
    while value is not None and value.name not in model.graph.initializers:
        producer = value.producer()
        if producer is not None and (places := stored_places(model, value)) is not None:
            return places
        if producer is None or not (producer.op_type in _PAIR or scales_integers(producer)):
            return None
        value = producer.inputs[0]
    return value


def scales_integers(node: ir.Node) -> bool:
    """Whether a node is part of Mul(Cast(stored integers), stored scale): a weight that is small in the file alone."""
    value = node.inputs[0] if node.inputs else None
    if node.op_type == "Mul" and value is not None and value.producer() is not None:
        scale, cast = node.inputs[1], value.producer()
        return scale is not None and scale.is_initializer() and cast is not None and scales_integers(cast)
    return node.op_type == "Cast" and value is not None and value.is_initializer() and value.dtype in _SMALL


def _dimensions(value: onnx.ValueInfoProto) -> tuple[int | None, ...]:
    return tuple(size.dim_value if size.HasField("dim_value") else None for size in value.type.tensor_type.shape.dim)


def _layer(model: ir.Model, node: ir.Node, shapes: Shapes) -> LayerCost:
    kind, second = MATRIX_OPERATORS[node.op_type]
    # A MatMul may have its weight on either side; the recurrent operators have two.
    operands = [node.inputs[0], *node.inputs[second : second + (2 if kind == "recurrent" else 1)]]
    stored = [found for value in operands if value is not None and (found := stored_weight(model, value)) is not None]
    matrices = [value for value in stored if value.shape is not None and len(value.shape) > 1]
    sizes = [int(np.prod(_weight_shape(value))) for value in matrices]
    first = matrices[0] if matrices else None
    return LayerCost(
        name=str(node.name or node.outputs[0].name),
        operator=node.op_type,
        weight_shape=_weight_shape(first) if first is not None else (),
        parameters=sum(sizes),
        macs=_macs(node, kind, second, shapes),
        bytes=sum(value.const_value.nbytes for value in matrices if value.const_value is not None),
        sparsity=sum(_zeros(model, value) for value in matrices) / sum(sizes) if sum(sizes) else 0.0,
        precision=_precision(first) if first is not None else "computed",
    )


def _macs(node: ir.Node, kind: str, position: int, shapes: Shapes) -> int | None:
    output = shapes.get(str(node.outputs[0].name))
    first, second, third = (
        shapes.get(str(value.name)) if (value := _input(node, index)) is not None else None
        for index in (0, position, position + 1)
    )
    if kind == "Einsum":
        return _einsum_macs(node, shapes)
    if first is None or second is None or None in second:
        return None
    if kind == "recurrent":  # every step multiplies every weight once
        if third is None or None in (*first[:2], *third):
            return None
        return _product(first[:2]) * (_product(second) + _product(third))
    if output is None or None in output or None in first:
        return None
    if kind == "attention":
        return _attention_macs(node, first, second, output)
    if kind == "Conv":
        return _product(output) * _product(second[1:])
    if kind == "ConvTranspose":
        return _product(first) * _product(second[1:])
    if kind == "Gemm":
        return _product(output) * _product(first) // (output[0] or 1)
    return _product(output) * int(first[-1] or 0)


def _attention_macs(node: ir.Node, queries: Sizes, keys: Sizes, output: Sizes) -> int | None:
    """Queries by keys, and what that gives by values; with packed weights the products that make them, too.

    Keys and values of earlier steps are not counted.
    """
    if node.domain != DOMAIN or node.op_type != "Attention":
        return (_product(queries) + _product(output)) * int(keys[-2] or 0)
    made = int(keys[1] or 0)
    widths = node.attributes.get_ints("qkv_hidden_sizes") or [made // 3]
    steps = _product(queries[:2])
    return _product(queries) * made + (steps * widths[0] + _product(output)) * int(queries[1] or 0)


def _einsum_macs(node: ir.Node, shapes: Shapes) -> int | None:
    found = [shapes.get(str(value.name)) for value in node.inputs if value is not None]
    known = [shape for shape in found if shape is not None and None not in shape]
    if len(known) < len(found):
        return None
    operands, output = letters_of(node, [len(shape) for shape in known])
    sizes: dict[str, int] = {}
    for letters, shape in zip(operands, known, strict=True):
        for letter, size in zip(letters, shape, strict=True):
            sizes[letter] = max(sizes.get(letter, 1), int(size or 0))
    return multiplications(operands, output, sizes)


def _input(node: ir.Node, index: int) -> ir.Value | None:
    return node.inputs[index] if index < len(node.inputs) else None


def _product(sizes: tuple[int | None, ...]) -> int:
    return math.prod(size or 0 for size in sizes)


def _weights(model: ir.Model) -> list[ir.Value]:
    """Stored tensors that hold weights: not shapes, scales or zero points."""
    used_as_scale = {
        value.name
        for node in model.graph
        for position in _not_weights(model, node)
        if position < len(node.inputs) and (value := node.inputs[position]) is not None
    }
    return [
        value
        for name, value in model.graph.initializers.items()
        if name not in used_as_scale and value.dtype not in _NOT_WEIGHTS
    ]


def _not_weights(model: ir.Model, node: ir.Node) -> tuple[int, ...]:
    """Positions of inputs that hold scales, zero points, or the values of a codebook and where those of each channel start."""
    if scales_integers(node):
        return (1,)
    if stored_places(model, node.outputs[0]) is not None:
        return (0,)
    if node.op_type == "Add" and any(stored_places(model, use.node.outputs[0]) for use in node.outputs[0].uses()):
        return (1,)
    return _SCALES.get(node.op_type, ())


def _weight_shape(value: ir.Value) -> tuple[int, ...]:
    """The shape of the weight that a stored tensor stands for, which may be packed."""
    packed = _in_blocks(value)
    if packed is not None:
        return packed.attributes.get_int("K"), packed.attributes.get_int("N")
    return tuple(value.shape.numpy()) if value.shape is not None else ()


def _precision(value: ir.Value) -> str:
    packed = _in_blocks(value)
    if packed is not None:
        return f"int{packed.attributes.get_int('bits', 4)}"
    return value.dtype.name.lower() if value.dtype is not None else "unknown"


def _zeros(model: ir.Model, value: ir.Value) -> int:
    packed = _in_blocks(value)
    array = stored_integers(model, packed) if packed is not None else initializer(model, value)
    values = codebook(model, value)
    if values is not None and values[0] != 0:
        return 0  # a place is counted, not what it stands for
    return 0 if array is None else int(array.size - np.count_nonzero(array))


def _in_blocks(value: ir.Value) -> ir.Node | None:
    """The MatMulNBits node that reads a tensor as its weight."""
    return next((use.node for use in value.uses() if use.node.op_type == OPERATOR and use.idx == 1), None)
