"""Tensors that say how many positions there are: surgery changes them, and whoever reads more of them than a shape forbids it."""

import onnx_ir as ir

from foldpress.data import Indices
from foldpress.optimizer.follow.following import Following, has, title

_MOVES = {"Concat", "Squeeze", "Unsqueeze", "Cast", "Identity", "Mul", "Add", "Sub", "Div", "Reshape"}

Counts = dict[ir.Value, list[Indices]]  # for each entry, or for all of them together, the labels that it counts


def follow_counts(following: Following, node: ir.Node, counts: Counts) -> None:
    """Follow the sizes that Shape gives to the shapes that Reshape takes; anything else needs them as they are."""
    if node.op_type == "Shape":
        axes = following.input(node, 0)
        start, end = node.attributes.get_int("start", 0), node.attributes.get_int("end", len(axes))
        counts[node.outputs[0]] = axes[slice(start, end)]
        return
    given = [number for number, value in enumerate(node.inputs) if value in counts]
    if not given or (node.op_type == "Reshape" and given == [1]):
        return
    read = [labels for number in given for labels in counts[node.inputs[number]]]  # type: ignore[index]
    if node.op_type in _MOVES:
        counts[node.outputs[0]] = read
    elif node.op_type in ("Gather", "Slice") and given == [0]:
        counts[node.outputs[0]] = _picked(following, node, read)
    else:
        following.labels.freeze(read, f"{title(node)} needs to know how many there are")


def _picked(following: Following, node: ir.Node, read: list[Indices]) -> list[Indices]:
    """The entries between stored bounds, or at stored indices; all of them where that is not known."""
    bounds = [following.integers(node, position) for position in range(1, len(node.inputs)) if has(node, position)]
    if any(bound is None for bound in bounds) or len(bounds) > 3:
        return read
    numbers = [bound.ravel().tolist() for bound in bounds if bound is not None]
    if node.op_type == "Slice":
        return read[slice(numbers[0][0], numbers[1][0])]
    return [read[number] for number in numbers[0]]
