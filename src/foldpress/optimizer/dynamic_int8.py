"""Dynamic int8: weights are stored as integers, activations are quantized at run time by what they happen to be.

Needs no calibration, and reaches what static quantization cannot: recurrent layers, and attention, whose activations vary
too much from sample to sample for one range.
"""

import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import ClearMetadataAndDocStringPass
from onnxruntime.quantization import QuantType, quantize_dynamic

from foldpress.errors import RequestError
from foldpress.external import read_weights
from foldpress.graph import write_graph
from foldpress.optimizer.passes import LogEntry, PassResult
from foldpress.optimizer.static_int8 import quiet, refuse_quantized
from foldpress.optimizer.targets import Target

# Their integer kernels quantize on the fly. Conv has one too, which is slower than float32.
_OPERATORS = ("Attention", "Gemm", "LSTM", "MatMul")
_INTEGER = {"DynamicQuantizeLSTM", "MatMulInteger", "QAttention"}


@dataclass(frozen=True)
class DynamicInt8:
    """Store the weights of matrix and recurrent layers as int8.

    Raises:
        RequestError: the graph is quantized already, or has nothing to quantize.
    """

    target: Target
    name: str = "dynamic-int8"

    def __call__(self, model: ir.Model) -> PassResult:
        """Replace the layers; the log counts what became integer, and what stayed float."""
        refuse_quantized(model)
        before = Counter(node.op_type for node in model.graph)
        quantized = self._quantize(model)
        after = Counter(node.op_type for node in quantized.graph)
        made = {name: after[name] for name in sorted(_INTEGER) if after[name]}
        if not made:
            raise RequestError(
                "dynamic int8 finds nothing to quantize here",
                available=f"layers of type {', '.join(_OPERATORS)} with stored weights",
                mend='use precision = "static"',
            )
        log = [
            LogEntry(self.name, f"{count} {operator}", "done", "weights are int8") for operator, count in made.items()
        ]
        for operator in ("Conv", "ConvTranspose", "GRU", "MatMul"):
            if left := min(before[operator], after[operator]):
                reason = (
                    "two computed operands" if operator == "MatMul" else "no dynamic kernel that is faster than float32"
                )
                log.append(LogEntry(self.name, f"{left} {operator}", "declined", f"{reason}; stays float"))
        return PassResult(quantized, tuple(log))

    def _quantize(self, model: ir.Model) -> ir.Model:
        # The quantizer transposes weights, and would then find their stored shapes untrue.
        for value in (*model.graph.initializers.values(), *(output for node in model.graph for output in node.outputs)):
            if not value.is_graph_output():
                value.type = value.shape = None
        with tempfile.TemporaryDirectory(prefix="foldpress.") as folder, quiet():
            source, output = Path(folder) / "float.onnx", Path(folder) / "quantized.onnx"
            _transpose_weights(model)
            write_graph(model, source)
            quantize_dynamic(
                source,
                output,
                use_external_data_format=True,
                op_types_to_quantize=list(_OPERATORS),
                per_channel=True,
                reduce_range=self.target.reduce_range,
                weight_type=QuantType.QInt8,
                extra_options={
                    "MatMulConstBOnly": True,
                    # ONNX infers no type behind onnxruntime's own operators, which a fused graph holds.
                    "DefaultTensorType": ir.DataType.FLOAT.value,
                },
            )
            loaded = ir.load(output)
            read_weights(loaded)
        return ClearMetadataAndDocStringPass()(loaded).model


def _transpose_weights(model: ir.Model) -> None:
    """Store the weights of Gemm as MatMul takes them, one by one as they are written.

    The quantizer would do so too, in memory that protobuf frees only at the end: four copies of all weights.
    """
    weights = set(model.graph.initializers.values()) - set(model.graph.inputs)
    for node in model.graph:
        if node.op_type != "Gemm" or node.attributes.get_int("transB", 0) == 0:
            continue
        value = node.inputs[1]
        if value is None or value.const_value is None or value not in weights or len(value.uses()) > 1:
            continue
        value.const_value = _transposed(value.const_value)
        node.attributes["transB"] = ir.AttrInt64("transB", 0)


def _transposed(tensor: ir.TensorProtocol) -> ir.LazyTensor:
    def transpose() -> ir.TensorProtocol:
        return ir.tensor(np.ascontiguousarray(tensor.numpy().T), name=tensor.name)

    return ir.LazyTensor(transpose, tensor.dtype, shape=ir.Shape(tensor.shape.numpy()[::-1]), name=tensor.name)
