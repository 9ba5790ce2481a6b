"""Rules for operators that keep positions apart: element by element, with broadcasting, pooling, reductions."""

import onnx_ir as ir

from foldpress.data import Indices
from foldpress.optimizer.follow.following import Axes, Following, fixed, has, title
from foldpress.optimizer.follow.labels import FIXED, Entangled


def pointwise(following: Following, node: ir.Node) -> list[Axes]:
    """Every output has the labels of the inputs, which are broadcast against each other and united."""
    inputs = [following.input(node, position) for position in range(len(node.inputs)) if has(node, position)]
    return [broadcast_axes(following, node, inputs)] * len(node.outputs)


def broadcast_axes(following: Following, node: ir.Node, inputs: list[Axes]) -> Axes:
    """The labels of what several tensors are broadcast to, aligned at the last axis."""
    rank = max(map(len, inputs))
    aligned = [[fixed(1)] * (rank - len(axes)) + axes for axes in inputs]
    return [_joined(following, node, list(columns)) for columns in zip(*aligned, strict=True)]


def _joined(following: Following, node: ir.Node, columns: list[Indices]) -> Indices:
    size = max(map(len, columns))
    wide = [labels for labels in columns if len(labels) == size]
    for labels in columns:
        if len(labels) < size:
            following.labels.freeze([labels], f"{title(node)} spreads them over another axis")
        elif labels is not wide[0]:
            why = f"{title(node)} joins them with what is none of a layer's channels"
            following.labels.unite(wide[0], labels, why)
    return wide[0]


def pooling(following: Following, node: ir.Node) -> list[Axes]:
    """Samples and channels stay apart; places do not."""
    x = following.input(node, 0)
    following.labels.freeze(x[2:], f"{title(node)} pools them")
    return [[x[0], x[1], *following.output(node, {}, number)[2:]] for number in range(len(node.outputs))]


def reduction(following: Following, node: ir.Node) -> list[Axes]:
    """What is reduced stays; the other axes keep their labels."""
    x = following.input(node, 0)
    reduced = _reduced(following, node, len(x))
    following.labels.freeze([x[axis] for axis in reduced], f"{title(node)} reduces them")
    if node.attributes.get_int("keepdims", 1):
        return [[fixed(1) if axis in reduced else labels for axis, labels in enumerate(x)]]
    return [[labels for axis, labels in enumerate(x) if axis not in reduced]]


def _reduced(following: Following, node: ir.Node, rank: int) -> set[int]:
    if node.op_type in ("ArgMax", "ArgMin"):
        return {node.attributes.get_int("axis", 0) % rank}
    stored = following.integers(node, 1)
    if has(node, 1) and stored is None:
        raise Entangled(f"the axes of {title(node)} are computed")
    axes: list[int] = stored.ravel().tolist() if stored is not None else list(node.attributes.get_ints("axes") or ())
    if node.attributes.get_int("noop_with_empty_axes", 0) and not axes:
        return set()
    return {axis % rank for axis in axes} or set(range(rank))


def along_axis(following: Following, node: ir.Node) -> list[Axes]:
    """Sums and the like that run along one axis: it stays."""
    x = following.input(node, 0)
    stored = following.integers(node, 1)
    axis = int(stored.ravel()[0]) if stored is not None else node.attributes.get_int("axis", -1)
    following.labels.freeze([x[axis]], f"{title(node)} runs along them")
    return [x]


def resized(following: Following, node: ir.Node) -> list[Axes]:
    """Resize: axes that keep their size by a stored scale of 1 keep their labels."""
    x = following.input(node, 0)
    scales = following.integers(node, 2)
    sizes = following.sizes(node.outputs[0])
    out = []
    for axis, (labels, size) in enumerate(zip(x, sizes, strict=True)):
        kept = scales is not None and scales.size and scales[axis] == 1
        if not kept and (labels != FIXED).any():
            following.labels.freeze([labels], f"{title(node)} resizes them")
        out.append(labels if kept else fixed(size))
    return [out]
