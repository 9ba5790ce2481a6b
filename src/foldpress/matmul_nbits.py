"""How com.microsoft.MatMulNBits stores a weight: integers of a few bits, in blocks along the axis that is summed.

A weight [K, N] lies there as bytes [N, blocks, block · bits / 8], the lowest bits first, with one scale for each block.
What is stored is unsigned; 2^(bits − 1) stands for zero where no zero points are given. The last block is padded.
Source: https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md#com.microsoft.MatMulNBits
"""

from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from foldpress.graph import initializer

OPERATOR, DOMAIN = "MatMulNBits", "com.microsoft"


def pack(integers: NDArray[Any], bits: int) -> NDArray[np.uint8]:
    """Signed integers [N, blocks, block] to bytes [N, blocks, block · bits / 8]."""
    unsigned = (integers.astype(np.int16) + 2 ** (bits - 1)).astype(np.uint8)
    apart = unsigned.reshape(*unsigned.shape[:2], -1, 8 // bits)
    packed: NDArray[np.uint8] = np.bitwise_or.reduce(apart << _shifts(bits), axis=-1)
    return packed


def stored_integers(model: ir.Model, node: ir.Node) -> NDArray[Any]:
    """The integers [K, N] of a MatMulNBits node, less their zero points: 0 stands for zero."""
    bits, size = (node.attributes.get_int(name, default) for name, default in (("bits", 4), ("block_size", 0)))
    summed, columns = node.attributes.get_int("K"), node.attributes.get_int("N")
    packed = initializer(model, node.inputs[1])
    if packed is None:
        raise ValueError(f"{node.name} stores no weight")
    integers = _unpack(packed.reshape(columns, -1), bits).reshape(columns, -1, size)
    points = initializer(model, node.inputs[3]) if len(node.inputs) > 3 else None
    less = 2 ** (bits - 1) if points is None else _zero_points(points.reshape(columns, -1), bits, integers.shape[1])
    signed: NDArray[Any] = (integers - less).reshape(columns, -1)[:, :summed].T
    return signed


def _unpack(packed: NDArray[np.uint8], bits: int) -> NDArray[np.int16]:
    apart: NDArray[np.int16] = (packed[..., None] >> _shifts(bits) & (2**bits - 1)).astype(np.int16)
    return apart.reshape(*packed.shape[:-1], -1)


def _zero_points(points: NDArray[Any], bits: int, blocks: int) -> NDArray[Any]:
    """[N, blocks, 1]: packed like the weights, or floats."""
    apart = _unpack(points, bits) if points.dtype == np.uint8 else points
    return apart[:, :blocks, None]


def _shifts(bits: int) -> NDArray[np.uint8]:
    return np.arange(0, 8, bits, dtype=np.uint8)
