"""Operators that multiply matrices, and how many multiply-accumulates (MACs) they take for one sample."""

import math

import onnx_ir as ir

from foldpress.einsum import letters_of, multiplications
from foldpress.matmul_nbits import DOMAIN
from foldpress.sample_shapes import Shapes, Sizes

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


def count_macs(node: ir.Node, shapes: Shapes) -> int | None:
    """MACs of one of these operators for one sample; None where a shape is not known.

    Args:
        node: of an operator in `MATRIX_OPERATORS`.
        shapes: of tensors for one sample, by name.
    """
    kind, position = MATRIX_OPERATORS[node.op_type]
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
