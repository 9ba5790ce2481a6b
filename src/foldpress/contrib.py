"""Shapes behind operators that ONNX infers nothing behind: onnxruntime's own (domain com.microsoft), and GroupNormalization.

For shape inference alone, each is replaced by a standard operator whose output has the same shape.
"""

from collections.abc import Iterator

import onnx
import onnx_ir as ir
from onnx import NodeProto, TensorProto, helper
from onnx_ir.passes.common import ShapeInferencePass

from foldpress.external import light_proto
from foldpress.matmul_nbits import DOMAIN, OPERATOR

# By operator: one that is as wide, and how many of the inputs it takes.
_ELEMENTWISE = {
    "BiasGelu": ("Add", 2),
    "FastGelu": ("Relu", 1),
    "Gelu": ("Relu", 1),
    "QuickGelu": ("Relu", 1),
    "SkipLayerNormalization": ("Add", 2),
}


def infer_shapes(model: ir.Model) -> None:
    """Give every value a shape that can be inferred, in place."""
    ShapeInferencePass(data_prop=True)(model)
    if not any(node.op_type == "GroupNormalization" or node.domain == DOMAIN for node in model.graph):
        return
    proto = light_proto(model)[0]
    use_standard_operators(proto.graph)
    inferred = ir.from_proto(onnx.shape_inference.infer_shapes(proto, data_prop=True))
    found = {value.name: value for node in inferred.graph for value in node.outputs}
    for node in model.graph:
        for value in node.outputs:
            known = found.get(value.name)
            if value.shape is None and known is not None:
                value.shape, value.type = known.shape, known.type


def use_standard_operators(graph: onnx.GraphProto) -> None:
    """Replace what has a stand-in, in place. The graph computes nonsense afterwards, in the right shapes."""
    nodes = [stand_in for node in graph.node for stand_in in _stand_ins(graph, node)]
    del graph.node[:]
    graph.node.extend(nodes)


def _attention(graph: onnx.GraphProto, node: NodeProto) -> Iterator[NodeProto]:
    """A matrix as wide as the values that are packed into a stored weight; nothing where the weight is computed."""
    sizes = next((tensor.dims for tensor in graph.initializer if tensor.name == node.input[1]), None)
    if sizes is None:
        yield node
        return
    widths = next((attribute.ints for attribute in node.attribute if attribute.name == "qkv_hidden_sizes"), None)
    weight = f"{node.output[0]}.weight"
    shape = [sizes[0], widths[2] if widths else sizes[1] // 3]
    graph.input.append(helper.make_tensor_value_info(weight, TensorProto.FLOAT, shape))
    yield helper.make_node("MatMul", [node.input[0], weight], node.output[:1])


def _stand_ins(graph: onnx.GraphProto, node: NodeProto) -> Iterator[NodeProto]:
    if node.op_type == "GroupNormalization" and not node.domain:
        yield helper.make_node("Relu", node.input[:1], node.output)
    elif node.domain != DOMAIN:
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
    elif node.op_type == "Attention":
        yield from _attention(graph, node)
    elif node.op_type == "MultiHeadAttention" and all(node.input[:3]):
        turned, scores = f"{node.output[0]}.turned", f"{node.output[0]}.scores"
        yield helper.make_node("Transpose", [node.input[1]], [turned], perm=[0, 2, 1])
        yield helper.make_node("MatMul", [node.input[0], turned], [scores])
        yield helper.make_node("MatMul", [scores, node.input[2]], node.output[:1])
    elif node.op_type in _ELEMENTWISE:
        operator, count = _ELEMENTWISE[node.op_type]
        yield from (helper.make_node(operator, node.input[:count], [output]) for output in node.output if output)
    else:
        yield node
