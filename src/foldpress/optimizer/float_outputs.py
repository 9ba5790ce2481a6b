"""Leave the graph's outputs as they are computed: rounding scores to 8 bits last of all changes answers and saves nothing."""

from dataclasses import dataclass

import onnx_ir as ir

from foldpress.optimizer.passes import LogEntry, PassResult

# Their integer kernels can give floats; after any other operator the pair may be what makes the chain integer.
_MAY_END_FLOAT = ("Gemm", "MatMul")


@dataclass(frozen=True)
class FloatOutputs:
    """Remove the Q/DQ pair between a last Gemm or MatMul and an output of the graph."""

    name: str = "float-outputs"

    def __call__(self, model: ir.Model) -> PassResult:
        """Remove the pairs; the log names the outputs."""
        log = []
        for position, output in enumerate(model.graph.outputs):
            computed = _behind_pair(output)
            if computed is None:
                continue
            name, shape, pair = output.name, output.shape, [output.producer(), next(iter(computed.uses())).node]
            output.name = f"{name}_removed"
            model.graph.outputs[position] = computed
            computed.name, computed.type, computed.shape = name, output.type, shape
            model.graph.remove([node for node in pair if node is not None], safe=True)
            log.append(LogEntry(self.name, str(name), "done", "not rounded to 8 bits; its layer gives floats"))
        return PassResult(model, tuple(log))


def _behind_pair(output: ir.Value) -> ir.Value | None:
    """What a Q/DQ pair in front of `output` rounds, where a Gemm or MatMul computes it and nothing else uses it."""
    dequantize = output.producer()
    if dequantize is None or dequantize.op_type != "DequantizeLinear" or dequantize.inputs[0] is None:
        return None
    quantize = dequantize.inputs[0].producer()
    if quantize is None or quantize.op_type != "QuantizeLinear" or quantize.inputs[0] is None:
        return None
    computed = quantize.inputs[0]
    layer = computed.producer()
    alone = len(computed.uses()) == 1 and len(dequantize.inputs[0].uses()) == 1 and not output.uses()
    return computed if layer is not None and layer.op_type in _MAY_END_FLOAT and alone else None
