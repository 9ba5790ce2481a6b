"""Hand what a float convolution computes to the integer layers with channels last.

onnxruntime's integer convolutions want channels last. It puts a Transpose on either side of each and moves them through an
addition only where that takes away more of them than it adds (`onnx_transpose_optimization.cc`, EstimateTransposeInputsCost).
Where a residual branch starts at a float convolution, the first addition has one operand of each kind, and so has every later
one: two Transposes stay in each block. A Transpose already in front of the branch decides for all of them. onnxruntime would
cancel it against its inverse, were there not a Reshape between the two, which costs nothing: a view of the same bytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from foldpress.optimizer.passes import LogEntry, PassResult

_ACTIVATIONS = ("Relu", "Clip", "LeakyRelu")
_TO_LAST = [0, 2, 3, 1]
_TO_FIRST = [0, 3, 1, 2]
_SAME_SHAPE = np.zeros(4, np.int64)  # Reshape reads 0 as "as it is"


@dataclass(frozen=True)
class ChannelsLast:
    """Turn the output of every float Conv, [N, C, H, W], that is rounded and then read more than once; values stay the same.

    With a single reader onnxruntime moves the Transposes by itself.
    """

    name: str = "channels-last"

    def __call__(self, model: ir.Model) -> PassResult:
        """Insert the Transposes around a Q/DQ pair; the log names the convolutions."""
        log = []
        for node in list(model.graph):
            pair = _branching_pair(node)
            if pair is None:
                continue
            quantize, dequantize = pair
            _insert(model, f"{node.name}_last", quantize, dequantize)
            log.append(LogEntry(self.name, str(node.name), "done", "integer layers take its output with channels last"))
        return PassResult(model, tuple(log))


def _branching_pair(node: ir.Node) -> tuple[ir.Node, ir.Node] | None:
    """The Q/DQ pair behind a float Conv over images, where more than one node reads what it rounds."""
    weight = node.inputs[1] if node.op_type == "Conv" else None
    if weight is None or weight.shape is None or len(weight.shape) != len(_TO_LAST) or _dequantized(weight):
        return None
    reader = _only_reader(node)
    while reader is not None and reader.op_type in _ACTIVATIONS:
        reader = _only_reader(reader)
    dequantize = _only_reader(reader) if reader is not None and reader.op_type == "QuantizeLinear" else None
    if reader is None or dequantize is None or dequantize.op_type != "DequantizeLinear":
        return None
    rounded = dequantize.outputs[0]
    return None if rounded.is_graph_output() or len(rounded.uses()) < 2 else (reader, dequantize)


def _dequantized(value: ir.Value) -> bool:
    producer = value.producer()
    return producer is not None and producer.op_type == "DequantizeLinear"


def _only_reader(node: ir.Node) -> ir.Node | None:
    uses = list(node.outputs[0].uses())
    return uses[0].node if len(uses) == 1 and not node.outputs[0].is_graph_output() else None


def _insert(model: ir.Model, name: str, quantize: ir.Node, dequantize: ir.Node) -> None:
    computed, rounded = quantize.inputs[0], dequantize.outputs[0]
    assert computed is not None  # noqa: S101  # required by the operator
    shape = ir.Value(name=f"{name}_shape", const_value=ir.tensor(_SAME_SHAPE, name=f"{name}_shape"),
                     shape=ir.Shape([4]), type=ir.TensorType(ir.DataType.INT64))  # fmt: skip
    model.graph.register_initializer(shape)
    readers = list(rounded.uses())
    last = _node("Transpose", f"{name}_to", [computed], perm=_TO_LAST)
    kept = _node("Reshape", f"{name}_kept", [last.outputs[0], shape])
    first = _node("Transpose", f"{name}_from", [rounded], perm=_TO_FIRST)
    model.graph.insert_before(quantize, [last, kept])
    model.graph.insert_after(dequantize, [first])
    quantize.replace_input_with(0, kept.outputs[0])
    for node, index in readers:
        node.replace_input_with(index, first.outputs[0])
    for value in (quantize.outputs[0], rounded):
        value.shape = None  # its axes have another order now


def _node(operator: str, name: str, inputs: Sequence[ir.Value], **attributes: Sequence[int]) -> ir.Node:
    node = ir.node(operator, inputs, attributes, name=name)
    node.outputs[0].name, node.outputs[0].type = f"{name}_out", inputs[0].type
    return node
