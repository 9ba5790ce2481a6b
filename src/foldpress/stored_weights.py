"""Stored tensors as the weights that they stand for: integers with scales, packed blocks, places in a codebook."""

import numpy as np
import onnx_ir as ir

from foldpress.codebook_weights import codebook, stored_places
from foldpress.graph import initializer
from foldpress.matmul_nbits import OPERATOR, stored_integers

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


def stored_weights(model: ir.Model) -> list[ir.Value]:
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


def weight_shape(value: ir.Value) -> tuple[int, ...]:
    """The shape of the weight that a stored tensor stands for, which may be packed."""
    packed = _in_blocks(value)
    if packed is not None:
        return packed.attributes.get_int("K"), packed.attributes.get_int("N")
    return tuple(value.shape.numpy()) if value.shape is not None else ()


def precision_of(value: ir.Value) -> str:
    """The type of the numbers that stand for a weight."""
    packed = _in_blocks(value)
    if packed is not None:
        return f"int{packed.attributes.get_int('bits', 4)}"
    return value.dtype.name.lower() if value.dtype is not None else "unknown"


def count_zeros(model: ir.Model, value: ir.Value) -> int:
    """Weights that are zero."""
    packed = _in_blocks(value)
    array = stored_integers(model, packed) if packed is not None else initializer(model, value)
    values = codebook(model, value)
    if values is not None and values[0] != 0:
        return 0  # a place is counted, not what it stands for
    return 0 if array is None else int(array.size - np.count_nonzero(array))


def _in_blocks(value: ir.Value) -> ir.Node | None:
    """The MatMulNBits node that reads a tensor as its weight."""
    return next((use.node for use in value.uses() if use.node.op_type == OPERATOR and use.idx == 1), None)
