"""Which nodes stay float, decided before anything is quantized, and why.

Two things decide: what the recipe asks for by name, and the target's profile. Whether int8 as a whole is worth it on a
machine is measured, not foreseen: see `foldpress.choice`.
"""

from collections.abc import Sequence

import onnx_ir as ir

from foldpress.optimizer.by_layer import by_layer
from foldpress.optimizer.layers import weighted_layers
from foldpress.optimizer.targets import Target
from foldpress.stored_weights import stored_weight


def nodes_left_float(model: ir.Model, target: Target, asked: Sequence[str] = ()) -> dict[str, str]:
    """Names of the nodes that stay float, each with the reason.

    Args:
        model: a float graph whose nodes have names.
        target: what it is quantized for.
        asked: what the user wants float, see `by_layer`.

    Raises:
        RequestError: the graph has no node of such a name or type.
    """
    reasons = {str(node.name): why for node in model.graph if (why := _shallow(model, node, target))}
    return reasons | dict.fromkeys(named_float(model, asked), "asked for by keep_float")


def named_float(model: ir.Model, asked: Sequence[str]) -> list[str]:
    """Names of the nodes that the user wants float; see `nodes_left_float`."""
    layers = [layer.node for layer in weighted_layers(model)[0]]
    return [*by_layer("keep_float", dict.fromkeys(asked, True), layers, model.graph)]


def _shallow(model: ir.Model, node: ir.Node, target: Target) -> str | None:
    """Why a convolution over few channels stays float; depthwise ones have kernels of their own."""
    weight = stored_weight(model, node.inputs[1]) if node.op_type == "Conv" else None
    if weight is None or weight.shape is None or _groups(node) > 1:
        return None
    channels = weight.shape.numpy()[1]
    if channels > target.float_channels:
        return None
    return f"over {channels} input channel{'s' * (channels > 1)} integers are no faster on {target.name}, and cost accuracy"


def _groups(node: ir.Node) -> int:
    return node.attributes["group"].as_int() if "group" in node.attributes else 1
