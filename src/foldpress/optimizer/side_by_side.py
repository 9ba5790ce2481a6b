"""Two networks in one graph, so that one pass over the data says where one departs from the other."""

from collections.abc import Sequence

import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from foldpress.graph import copy_graph
from foldpress.optimizer.activations import values_by_name

_PREFIX = "original/"


def original_name(name: str) -> str:
    """What a value of the original is called beside the changed network."""
    return _PREFIX + name


def side_by_side(original: ir.Model, changed: ir.Model, tensors: Sequence[str], known: Sequence[str] = ()) -> ir.Model:
    """A graph that computes `tensors`, and nothing that they do not need, from the inputs that both networks share.

    Args:
        original: a graph with shapes; its values are found by `original_name`.
        changed: one with the same inputs, whose values keep their names.
        tensors: the outputs of the graph.
        known: names of computed tensors, in `changed`, that become inputs in both networks; then the graph has no input that
            nothing reads.
    """
    both, other = copy_graph(changed), copy_graph(original).graph
    for theirs, ours in zip(other.inputs, both.graph.inputs, strict=True):
        theirs.replace_all_uses_with(ours, replace_graph_outputs=True)
    for value in list(other.initializers.values()):
        other.initializers.pop(str(value.name))
        value.name = original_name(str(value.name))
        both.graph.register_initializer(value)
    other.outputs.clear()
    for node in list(other):
        other.remove(node)
        node.name = original_name(node.name) if node.name else None
        for value in node.outputs:
            value.name = original_name(value.name) if value.name else value.name  # an output may be left out
        both.graph.append(node)
    for name in known:
        _make_input(both, name)
        _make_input(both, original_name(name))
    values = values_by_name(both)
    both.graph.outputs[:] = [values[name] for name in tensors]
    RemoveUnusedNodesPass()(both)
    if known:
        both.graph.inputs[:] = [value for value in both.graph.inputs if value.uses() or value.is_graph_output()]
    return both


def _make_input(model: ir.Model, name: str) -> None:
    """Give the graph a tensor that it would compute."""
    computed = values_by_name(model)[name]
    computed.name = f"{name}/computed"
    given = ir.Value(name=name, shape=computed.shape, type=computed.type)
    computed.replace_all_uses_with(given, replace_graph_outputs=True)
    model.graph.inputs.append(given)
