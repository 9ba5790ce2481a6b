"""What a chain is made of: the stored tensors that take a scale, and the operators that one passes."""

import onnx_ir as ir

from foldpress.graph import initializer
from foldpress.optimizer.layers import Layer

WEIGHTED = ("Conv", "Gemm", "MatMul")
NORMALIZATIONS = ("LayerNormalization", "RMSNormalization", "SimplifiedLayerNormalization")
_HOMOGENEOUS = {"Relu", "LeakyRelu", "Identity"}
_POOLING = {"MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"}

Stored = tuple[tuple[str, int], ...]


def starts_normalized(node: ir.Node) -> bool:
    """Whether a node that may start a chain is (the end of) a normalization rather than a layer."""
    return node.op_type not in WEIGHTED


def stored_affine(model: ir.Model, node: ir.Node, layer: Layer | None) -> Stored | str:
    """Weight and bias of a producer with their axis of channels, or why they cannot be scaled."""
    if starts_normalized(node):
        if attribute(node, "axis", -1) not in (-1, len(node.inputs[0].shape or ()) - 1):  # type: ignore[union-attr]
            return "it normalizes over more than the last axis"
        found = [(value, _last(value)) for value in _affine(model, node)]
    elif layer is None:
        return "its weight is computed, shared or of no kind that is known"
    else:
        bias = layer.bias(model)
        found = [(layer.weight, 1 if layer.transposed else 0)]
        found += [] if bias is None else [(bias, _last(bias))]
    if any(initializer(model, value) is None or len(value.uses()) > 1 for value, _ in found):
        return "its weight or bias is computed, or shared with another layer"
    sizes = {(*value.shape.numpy(), 0)[axis] for value, axis in found if value.shape is not None}
    if len(sizes) > 1:
        return "its bias is not of one number a channel"
    return tuple((str(value.name), axis) for value, axis in found)


def _affine(model: ir.Model, node: ir.Node) -> list[ir.Value]:
    """Weight and bias of a normalization; the bias may be added by the one node behind it."""
    vector = stored_vector(model, node, "Mul")
    found = [vector] if vector is not None else [value for value in node.inputs[1:] if value is not None]
    uses = list(node.outputs[0].uses())
    added = stored_vector(model, uses[0].node, "Add") if len(uses) == 1 else None
    return found if added is None else [*found, added]


def stored_vector(model: ir.Model, node: ir.Node, operator: str) -> ir.Value | None:
    """What a node multiplies by or adds, where that is stored and has one number for each place of the last axis."""
    if node.op_type != operator or node.outputs[0].shape is None or not len(node.outputs[0].shape):
        return None
    for value in node.inputs:
        stored = initializer(model, value)
        if stored is not None and stored.ndim and 1 < stored.size == stored.shape[-1] == node.outputs[0].shape[-1]:
            return value
    return None


def _last(value: ir.Value) -> int:
    return max(len(value.shape or ()) - 1, 0)


def adds(node: ir.Node, stored: Stored) -> bool:
    """Whether a node adds the producer's own bias."""
    names = {name for name, _ in stored}
    return node.op_type == "Add" and any(value is not None and value.name in names for value in node.inputs)


def step(model: ir.Model, node: ir.Node, axis: int) -> int | str:
    """The channels' axis behind a node, or the reason why no scale passes it."""
    shape = list(node.inputs[0].shape or ()) if node.inputs[0] is not None else []
    if node.op_type in _HOMOGENEOUS or (node.op_type in _POOLING and axis == 1):
        return axis
    if node.op_type == "Transpose" and "perm" in node.attributes:
        return list(node.attributes["perm"].as_ints()).index(axis)
    if node.op_type in ("Flatten", "Reshape"):
        after = node.outputs[0].shape
        only_places = axis == 1 and all(size == 1 for size in shape[2:])
        if only_places and after is not None and len(after) == 2 and after[1] == shape[1]:
            return 1
    if node.op_type == "ReduceMean" and axis == 1:
        stored = initializer(model, node.inputs[1]) if len(node.inputs) > 1 else None
        axes = stored.tolist() if stored is not None else _axes(node)
        if axes and not {0, 1} & {index % len(shape) for index in axes}:
            return 1
    return f"{node.op_type} {node.name} is not homogeneous, or mixes channels"


def _axes(node: ir.Node) -> list[int]:
    return list(node.attributes["axes"].as_ints()) if "axes" in node.attributes else []


def attribute(node: ir.Node, name: str, default: int) -> int:
    """An integer attribute of a node, or its default."""
    return node.attributes[name].as_int() if name in node.attributes else default
