"""Weight-only int8 and int4: the weights of matrix products as integers in blocks, by onnxruntime's MatMulNBits.

Activations stay float32 between the layers; the kernel rounds them to 8 bits by block as it multiplies. It pays where
weights are many and samples few. Each block of a weight has a scale of its own, so one outlier spoils little, and no
calibration is needed. (Frantar et al. 2022, arXiv:2210.17323, call it group-wise quantization.)
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from foldpress.errors import RequestError
from foldpress.graph import initializer
from foldpress.matmul_nbits import DOMAIN, OPERATOR, pack
from foldpress.optimizer.passes import LogEntry, PassResult
from foldpress.optimizer.rounding import relative_error, round_groups
from foldpress.optimizer.static_int8 import refuse_quantized
from foldpress.optimizer.targets import Target

# By bits. Measured with onnxruntime 1.31 on x86: the larger the block the faster; with 8 bits a small one gains no
# accuracy worth having, with 4 bits it does.
_LARGEST_BLOCK = {8: 128, 4: 32}
# Without this level the 8-bit kernel unpacks all weights to float32 on every run: 20 to 70 times slower for one sample.
_INTEGER_PRODUCTS = 4
_FEW = 1024  # weights: below, the node's own names and attributes take what is saved
_TAKE_STANDARD_OPERATORS_ONLY = ("tensorrt", "qnn")
_OTHERS = ("Conv", "ConvTranspose", "GRU", "Gather", "LSTM", "RNN")


@dataclass(frozen=True)
class WeightOnly:
    """Store the weights of MatMul and Gemm in 8 or 4 bits.

    Raises:
        RequestError: the graph is quantized already, has nothing to quantize, or is for a target without that operator.
    """

    bits: Literal[4, 8]
    target: Target

    @property
    def name(self) -> str:
        """weight-int8 or weight-int4."""
        return f"weight-int{self.bits}"

    def __call__(self, model: ir.Model) -> PassResult:
        """Replace the layers; the log says what each became, or why it stays float."""
        refuse_quantized(model)
        if self.target.name in _TAKE_STANDARD_OPERATORS_ONLY:
            raise RequestError(
                f"target {self.target.name} has no kernel for {OPERATOR}, which {self.name} is made of",
                mend='use precision = "static" there',
            )
        products = [node for node in model.graph if node.op_type in ("MatMul", "Gemm") and not node.domain]
        log = [self._convert(model, node) for node in products]
        if not any(entry.action == "done" for entry in log):
            raise RequestError(
                f"{self.name} finds nothing to quantize here",
                available=f"MatMul and Gemm with a stored weight of at least {_FEW} numbers",
                mend='use precision = "static", or "weights" with bits',
            )
        for operator in _OTHERS:
            if left := sum(node.op_type == operator and _has_weights(model, node) for node in model.graph):
                why = f"{OPERATOR} multiplies matrices only; stays float"
                log.append(LogEntry(self.name, f"{left} {operator}", "declined", why))
        return PassResult(model, tuple(log))

    def _convert(self, model: ir.Model, node: ir.Node) -> LogEntry:
        weight = initializer(model, node.inputs[1])
        reason = _why_not(node, weight)
        if reason or weight is None:
            return LogEntry(self.name, str(node.name), "declined", f"{reason}; stays float")
        weight = _as_multiplied(node, weight)
        size = _block(len(weight), self.bits)
        integers, scales = round_groups(_in_blocks(weight, size).reshape(-1, size), *_levels(self.bits))
        packed = pack(integers.reshape(weight.shape[1], -1, size), self.bits)
        _replace(model, node, weight.shape, self.bits, size, packed, scales)
        kept = _put_together(integers * scales[:, None], weight.shape)
        detail = (
            f"weights in {self.bits} bits by {size}: {weight.nbytes:,} to {packed.nbytes + scales.nbytes:,} bytes, "
            f"squared error {relative_error(weight, kept):.2g} of their energy"
        )
        return LogEntry(self.name, str(node.name), "done", detail)


def _has_weights(model: ir.Model, node: ir.Node) -> bool:
    stored = (initializer(model, value) for value in node.inputs[:2])
    return any(array is not None and array.dtype == np.float32 for array in stored)


def _why_not(node: ir.Node, weight: NDArray[Any] | None) -> str | None:
    """Why a product stays float, or None."""
    if weight is None:
        return "its second operand is computed"
    if weight.dtype != np.float32 or weight.ndim != 2:
        return f"its weight is {weight.dtype} of {weight.ndim} axes, not a float32 matrix"
    if weight.size < _FEW:
        return f"{weight.size} weights are too few to gain by it"
    if node.attributes.get_int("transA", 0):
        return "it transposes its input"
    return None


def _as_multiplied(node: ir.Node, weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """The matrix [K, N] that the input is multiplied by."""
    straight = weight.T if node.attributes.get_int("transB", 0) else weight
    return np.ascontiguousarray(straight * np.float32(node.attributes.get_float("alpha", 1.0)))


def _block(summed: int, bits: int) -> int:
    """Of the powers of two that the kernel takes, the one that stores least: padding against scales, 4 bytes each."""
    sizes = [size for size in (16, 32, 64, 128) if size <= _LARGEST_BLOCK[bits]]
    return min(reversed(sizes), key=lambda size: -(-summed // size) * (size * bits // 8 + 4))


def _levels(bits: int) -> tuple[int, int]:
    return -(2 ** (bits - 1)), 2 ** (bits - 1) - 1


def _in_blocks(weight: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """[K, N] to [N, blocks, size], the last block filled up with zeros."""
    padded = np.pad(weight, ((0, -len(weight) % size), (0, 0)))
    return padded.T.reshape(weight.shape[1], -1, size)


def _put_together(blocks: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """[N · blocks, size] back to [K, N]."""
    return blocks.reshape(shape[1], -1)[:, : shape[0]].T


def _replace(
    model: ir.Model, node: ir.Node, shape: tuple[int, ...], bits: int, size: int,
    packed: NDArray[np.uint8], scales: NDArray[np.float32],
) -> None:  # fmt: skip
    """Put MatMulNBits, and for Gemm the sum with its bias, in the node's place."""
    old = node.inputs[1]
    stored = [_store(model, f"{node.name}.{what}", array) for what, array in (("B", packed), ("scales", scales))]
    attributes = {"K": shape[0], "N": shape[1], "bits": bits, "block_size": size, "accuracy_level": _INTEGER_PRODUCTS}
    made = [ir.node(OPERATOR, [node.inputs[0], *stored], attributes, domain=DOMAIN, name=node.name)]
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    if bias is not None:
        made += _sum_with(model, made[0].outputs[0], bias, node)
    output = made[-1].outputs[0]
    output.type, output.shape = node.outputs[0].type, node.outputs[0].shape
    ir.convenience.replace_nodes_and_values(model.graph, node, [node], made, node.outputs, [output])
    if old is not None and not old.uses() and not old.is_graph_output():
        del model.graph.initializers[str(old.name)]
    model.graph.opset_imports.setdefault(DOMAIN, 1)


def _sum_with(model: ir.Model, product: ir.Value, bias: ir.Value, node: ir.Node) -> list[ir.Node]:
    factor = node.attributes.get_float("beta", 1.0)
    if factor == 1:
        return [ir.node("Add", [product, bias])]
    scaled = ir.node("Mul", [bias, _store(model, f"{node.name}.beta", np.array(factor, np.float32))])
    return [scaled, ir.node("Add", [product, scaled.outputs[0]])]


def _store(model: ir.Model, name: str, array: NDArray[Any]) -> ir.Value:
    tensor = ir.tensor(array, name=name)
    value = ir.Value(name=name, const_value=tensor, shape=ir.Shape(array.shape), type=ir.TensorType(tensor.dtype))
    model.graph.register_initializer(value)
    return value
