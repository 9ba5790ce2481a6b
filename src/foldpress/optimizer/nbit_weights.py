"""Weights of 1 to 8 bits, by channel, for every kind of layer: how few bits does a network need?

Each weight is rounded to integers of so many bits, 0 in the middle, with one scale for each output channel, and stored in
the smallest type of ONNX that holds it: int2, int4 or int8. Cast and Mul turn it back into float32, which onnxruntime does
once, as it loads the file: all layers compute in float32, at float32's speed, and only the file is small. (DequantizeLinear
would say the same, but onnxruntime 1.31 keeps it: ResNet-20 then takes 1.7 times the time.)
"""

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnxscript.version_converter import convert_version

from foldpress.errors import GraphError, RequestError
from foldpress.graph import initializer
from foldpress.optimizer.passes import LogEntry, PassResult
from foldpress.optimizer.rounding import relative_error, round_groups, symmetric_levels
from foldpress.optimizer.static_int8 import refuse_quantized

_TYPES = {2: ir.DataType.INT2, 4: ir.DataType.INT4, 8: ir.DataType.INT8}
# The first opset and file version whose Cast takes integers of that width.
_STORED = {2: (25, 13), 4: (21, 10), 8: (13, 7)}
# Where the weights of an operator stand, and which of their axes is the output channel.
_WEIGHTS = {
    "Attention": {1: 1},
    "Conv": {1: 0},
    "ConvTranspose": {1: 1},
    "GRU": {1: 1, 2: 1},
    "Gather": {0: 0},
    "Gemm": {1: 1},
    "LSTM": {1: 1, 2: 1},
    "MatMul": {0: -2, 1: -1},
    "RNN": {1: 1, 2: 1},
}


@dataclass(frozen=True)
class NBitWeights:
    """Round the weights of every layer to `bits`, 1 to 8.

    Raises:
        RequestError: the graph is quantized already, has no weights, or is of an opset that cannot store them.
        GraphError: a weight is not finite.
    """

    bits: int
    name: str = "n-bit-weights"

    def __call__(self, model: ir.Model) -> PassResult:
        """Replace the weights; the log says the bytes and the error of each, and of all."""
        refuse_quantized(model)
        found = _weights(model)
        if not found:
            raise RequestError(
                "there are no weights to round here", available=f"stored float32 weights of {', '.join(_WEIGHTS)}"
            )
        raise_opset(model, *_STORED[_width(self.bits)])
        before = after = 0
        energy = error = 0.0
        log = []
        for value, axis in found.items():
            weight = value.const_value.numpy()  # type: ignore[union-attr]
            rounded, size = self._replace(model, value, axis)
            before, after = before + weight.nbytes, after + size
            lost, all_of_it = relative_error(weight, rounded), float(np.square(weight, dtype=np.float64).sum())
            energy, error = energy + all_of_it, error + lost * all_of_it
            log.append(self._entry(str(value.name), weight.nbytes, size, lost))
        total = self._entry(f"{len(found)} weights", before, after, error / energy if energy else 0.0)
        why = "weights become float32 again as the file is loaded: smaller, not faster"
        speed = LogEntry(self.name, "speed", "declined", why)
        return PassResult(model, (total, speed, *log))

    def _replace(self, model: ir.Model, value: ir.Value, axis: int) -> tuple[NDArray[np.float32], int]:
        """Put integers and their scaling in a weight's place; what they stand for, and their bytes."""
        weight = value.const_value.numpy()  # type: ignore[union-attr]
        channels = np.moveaxis(weight, axis, 0)
        groups = channels.reshape(len(channels), -1)
        integers, scales = round_groups(groups, *symmetric_levels(self.bits), signs_only=self.bits == 1)
        rounded = np.moveaxis((integers * scales[:, None]).reshape(channels.shape), 0, axis)
        stored = np.moveaxis(integers.reshape(channels.shape), 0, axis).astype(_TYPES[_width(self.bits)].numpy())
        by_channel = np.moveaxis(scales.reshape(-1, *[1] * (weight.ndim - 1)), 0, axis)
        tensors = [_constant(f"{value.name}.{what}", array) for what, array in (("int", stored), ("scale", by_channel))]
        cast = ir.node("Cast", tensors[:1], {"to": ir.DataType.FLOAT.value}, name=f"{value.name}.cast")
        node = ir.node("Mul", [cast.outputs[0], tensors[1]], name=f"{value.name}.float")
        for made in (cast.outputs[0], node.outputs[0]):
            made.type, made.shape = value.type, value.shape
        value.replace_all_uses_with(node.outputs[0])
        del model.graph.initializers[str(value.name)]
        for tensor in tensors:
            model.graph.register_initializer(tensor)
        model.graph.insert_before(model.graph[0], [cast, node])
        return rounded, sum(tensor.const_value.nbytes for tensor in tensors if tensor.const_value is not None)

    def _entry(self, subject: str, before: int, after: int, error: float) -> LogEntry:
        detail = f"{self.bits} bits: {before:,} to {after:,} bytes, squared error {error:.2g} of their energy"
        return LogEntry(self.name, subject, "done", detail)


def _width(bits: int) -> int:
    """Of the type that is stored."""
    return next(width for width in _TYPES if width >= bits)


def _weights(model: ir.Model) -> dict[ir.Value, int]:
    """Every stored float32 weight, with the axis of its output channels where it is used first."""
    found: dict[ir.Value, int] = {}
    for node in model.graph:
        for position, axis in _WEIGHTS.get(node.op_type, {}).items():
            value = node.inputs[position] if position < len(node.inputs) else None
            array = initializer(model, value)
            if value is None or array is None or array.dtype != np.float32 or array.ndim < 2 or _is_interface(value):
                continue
            if not np.isfinite(array).all():
                raise GraphError(f"weight {value.name} holds infinity or NaN", mend="look at how it was trained")
            transposed = node.op_type == "Gemm" and node.attributes.get_int("transB", 0) != 0
            found.setdefault(value, 0 if transposed else axis)
    return found


def _is_interface(value: ir.Value) -> bool:
    return value.is_graph_input() or value.is_graph_output()


def raise_opset(model: ir.Model, opset: int, version: int) -> None:
    """To the first opset that has a type of integers; the operators' meaning is kept by onnxscript's converter.

    Raises:
        RequestError: the converter cannot.
    """
    if model.opset_imports[""] < opset:
        convert_version(model, opset)
    if model.opset_imports[""] < opset:
        raise RequestError(
            f"the graph is of opset {model.opset_imports['']}, which cannot be raised to {opset}",
            mend="export it again with a newer opset, or ask for more bits",
        )
    model.ir_version = max(model.ir_version, version)


def _constant(name: str, array: NDArray[np.generic]) -> ir.Value:
    tensor = ir.tensor(array, name=name)
    return ir.Value(name=name, const_value=tensor, shape=ir.Shape(array.shape), type=ir.TensorType(tensor.dtype))
