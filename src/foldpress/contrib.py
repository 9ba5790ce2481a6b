"""Shapes behind onnxruntime's own operators (domain com.microsoft), which ONNX does not know and infers nothing behind.

For shape inference alone, each is replaced by a standard operator whose output has the same shape.
"""

from collections.abc import Iterator

import onnx
from onnx import NodeProto, TensorProto, helper

from foldpress.matmul_nbits import DOMAIN, OPERATOR

# By operator: one that is as wide, and how many of the inputs it takes.
_ELEMENTWISE = {
    "BiasGelu": ("Add", 2),
    "FastGelu": ("Relu", 1),
    "Gelu": ("Relu", 1),
    "QuickGelu": ("Relu", 1),
    "SkipLayerNormalization": ("Add", 2),
}


def use_standard_operators(graph: onnx.GraphProto) -> None:
    """Replace what has a stand-in, in place. The graph computes nonsense afterwards, in the right shapes."""
    nodes = [stand_in for node in graph.node for stand_in in _stand_ins(graph, node)]
    del graph.node[:]
    graph.node.extend(nodes)


def _stand_ins(graph: onnx.GraphProto, node: NodeProto) -> Iterator[NodeProto]:
    if node.domain != DOMAIN:
        yield node
    elif node.op_type == OPERATOR:
        sizes = {attribute.name: attribute.i for attribute in node.attribute}
        weight = f"{node.output[0]}.weight"
        graph.input.append(helper.make_tensor_value_info(weight, TensorProto.FLOAT, [sizes["K"], sizes["N"]]))
        yield helper.make_node("MatMul", [node.input[0], weight], node.output)
    elif node.op_type == "DynamicQuantizeLSTM":
        lstm = helper.make_node("LSTM", node.input[:3], node.output)
        lstm.attribute.extend(node.attribute)
        yield lstm
    elif node.op_type in _ELEMENTWISE:
        operator, count = _ELEMENTWISE[node.op_type]
        yield from (helper.make_node(operator, node.input[:count], [output]) for output in node.output if output)
    else:
        yield node
