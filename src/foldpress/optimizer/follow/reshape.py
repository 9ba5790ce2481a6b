"""Reshape, Flatten, Squeeze, Unsqueeze: axes are joined or split, labels repeated or united.

Axes before and after are paired in segments of equal size. Where several axes come of a labelled one, as heads [H, D] come of
H · D features, one of them carries the labels, and all positions under one of its indices are united. Which one it has to be
shows only behind the node (an export may pack queries, keys and values as [3, H, D]), so it is a choice, tried in turn.
"""

from functools import partial

import numpy as np
import onnx_ir as ir

from foldpress.data import Indices
from foldpress.optimizer.follow.following import Axes, Cut, Following, fixed, there, title
from foldpress.optimizer.follow.labels import FIXED, Entangled

Sizes = tuple[int, ...]


def reshape(following: Following, node: ir.Node) -> list[Axes]:
    """The rule for all four operators; surgery changes stored shapes."""
    x = following.input(node, 0)
    after = following.sizes(node.outputs[0])
    out = [fixed(size) for size in after]
    for old, new in _segments(tuple(map(len, x)), after):
        labelled = [axis for axis in old if (x[axis] != FIXED).any()]
        following.labels.freeze([x[axis] for axis in labelled[1:]], f"{title(node)} mixes them with other channels")
        if labelled:
            axis, labels = _carried(
                following, node, [x[axis] for axis in old], old.index(labelled[0]), [after[n] for n in new]
            )
            if axis is not None:
                out[new[axis]] = labels
    if node.op_type == "Reshape":
        shape = _stored_shape(following, node)
        if shape is None:
            following.labels.freeze([*x, *out], f"the shape of {title(node)} is computed")
        else:
            following.patches.append(partial(_resize, node, [*x, *out], out, shape))
    return [out]


def _carried(
    following: Following, node: ir.Node, axes: Axes, labelled: int, sizes: list[int]
) -> tuple[int | None, Indices]:
    """Which of the new axes of a segment carries the labels of a labelled one, and those labels."""
    could = [axis for axis, size in enumerate(sizes) if size > 1]
    if not could:
        following.labels.freeze([axes[labelled]], f"{title(node)} drops their axis")
        return None, fixed(0)
    chosen = could[min(following.choices.get(node, 0), len(could) - 1)]
    shape = [-1 if axis == labelled else 1 for axis in range(len(axes))]
    block = np.broadcast_to(axes[labelled].reshape(shape), [len(labels) for labels in axes]).reshape(sizes)
    rows = np.moveaxis(block, chosen, 0).reshape(sizes[chosen], -1)
    following.labels.unite(rows[:, :1], rows, f"{title(node)} mixes them with other axes")
    if len(could) > 1:
        following.splits[node] = len(could), rows[:, 0]
    return chosen, rows[:, 0]


def _segments(before: Sizes, after: Sizes) -> list[tuple[list[int], list[int]]]:
    """The smallest runs of axes on both sides that have as many positions."""
    if 0 in before or 0 in after:
        raise Entangled("a tensor is empty")
    segments, old, new = [], 0, 0
    while old < len(before) and new < len(after):
        first, second = old, new
        left, right = before[old], after[new]
        while left != right:
            if left < right:
                old += 1
                left *= before[old]
            else:
                new += 1
                right *= after[new]
        old, new = old + 1, new + 1
        segments.append((list(range(first, old)), list(range(second, new))))
    segments += [([axis], []) for axis in range(old, len(before))]
    return segments


def _stored_shape(following: Following, node: ir.Node) -> list[int] | None:
    """The shape that a node is given, or one to give it instead of a computed one; None where several sizes are unknown."""
    stored = following.integers(node, 1)
    if stored is not None:
        return [int(size) for size in stored]
    before, after = (value.shape or ir.Shape([]) for value in (there(node, 0), node.outputs[0]))
    sizes = [_entry(size, before[axis] if axis < len(before) else None) for axis, size in enumerate(after)]
    return sizes if sizes and sizes.count(-1) < 2 else None


def _entry(size: int | ir.SymbolicDim, before: int | ir.SymbolicDim | None) -> int:
    """A size, 0 for that of the input, or -1 for what is left."""
    if isinstance(size, int):
        return size
    return 0 if size.value is not None and size == before else -1


def _resize(node: ir.Node, labels: Axes, out: Axes, shape: list[int], cut: Cut) -> None:
    if any(cut.goes(axis) for axis in labels):
        changed = [len(cut.left(axis)) if size > 0 else size for axis, size in zip(out, shape, strict=True)]
        cut.store(node, 1, np.array(changed, np.int64))
        if 0 in changed:
            node.attributes.pop("allowzero", None)
