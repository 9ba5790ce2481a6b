"""Dynamic int8: weights are stored as integers, activations are quantized at run time by what they happen to be.

Needs no calibration, and reaches what static quantization cannot: recurrent layers, and attention, whose activations vary
too much from sample to sample for one range.
"""

import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import onnx
import onnx_ir as ir
from onnx_ir.passes.common import ClearMetadataAndDocStringPass
from onnxruntime.quantization import QuantType, quantize_dynamic

from foldpress.errors import RequestError
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
        proto = ir.to_proto(model)
        # The quantizer transposes weights, and would then find their stored shapes untrue.
        del proto.graph.value_info[:]
        with tempfile.TemporaryDirectory(prefix="foldpress.") as folder, quiet():
            output = Path(folder) / "quantized.onnx"
            quantize_dynamic(
                proto,
                output,
                op_types_to_quantize=list(_OPERATORS),
                per_channel=True,
                reduce_range=self.target.reduce_range,
                weight_type=QuantType.QInt8,
                extra_options={
                    "MatMulConstBOnly": True,
                    # ONNX infers no type behind onnxruntime's own operators, which a fused graph holds.
                    "DefaultTensorType": onnx.TensorProto.FLOAT,
                },
            )
            loaded = ir.from_proto(onnx.load(output))
        return ClearMetadataAndDocStringPass()(loaded).model
