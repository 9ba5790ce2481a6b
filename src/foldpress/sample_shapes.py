"""The shapes that tensors have when a graph is given one sample."""

import onnx
import onnx_ir as ir
from onnxscript.optimizer import fold_constants

from foldpress.contrib import use_standard_operators
from foldpress.external import light_proto
from foldpress.graph import copy_graph

Sizes = tuple[int | None, ...]
Shapes = dict[str, Sizes]


def sample_shapes(model: ir.Model) -> Shapes:
    """The shape of every tensor for one sample, as far as shape inference finds it."""
    shapes = _inferred(light_proto(model)[0])
    if any(None in shapes.get(str(node.outputs[0].name), (None,)) for node in model.graph):
        # A graph that computes its own shapes: with one sample they are constants, and can be folded.
        shapes = _inferred(light_proto(_folded_for_one(model))[0]) | {k: v for k, v in shapes.items() if None not in v}
    return shapes


def _folded_for_one(model: ir.Model) -> ir.Model:
    model = copy_graph(model)
    for value in model.graph.inputs:
        if value.shape is not None and len(value.shape):
            value.shape = ir.Shape([1, *value.shape[1:]])
    for value in (*model.graph.outputs, *(output for node in model.graph for output in node.outputs)):
        value.shape = None
    fold_constants(model, onnx_shape_inference=True)
    return model


def _inferred(proto: onnx.ModelProto) -> Shapes:
    del proto.graph.value_info[:]
    initializers = {tensor.name for tensor in proto.graph.initializer}
    for value in proto.graph.input:
        dimensions = value.type.tensor_type.shape.dim
        if value.name not in initializers and len(dimensions):
            dimensions[0].dim_value = 1
    for value in proto.graph.output:  # a stored free sample axis would contradict the one sample asked for
        value.type.tensor_type.ClearField("shape")
    use_standard_operators(proto.graph)
    inferred = onnx.shape_inference.infer_shapes(proto, data_prop=True)
    known = [*inferred.graph.input, *inferred.graph.value_info, *inferred.graph.output]
    shapes: Shapes = {value.name: _dimensions(value) for value in known if value.type.tensor_type.HasField("shape")}
    shapes.update({tensor.name: tuple(tensor.dims) for tensor in proto.graph.initializer})
    return shapes


def _dimensions(value: onnx.ValueInfoProto) -> tuple[int | None, ...]:
    return tuple(size.dim_value if size.HasField("dim_value") else None for size in value.type.tensor_type.shape.dim)
