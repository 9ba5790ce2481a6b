"""Rules for operators that move positions about: join, split, cut out, pad, transpose, repeat."""

from functools import partial

import numpy as np
import onnx_ir as ir

from foldpress.data import Indices
from foldpress.optimizer.follow.following import Axes, Cut, Following, fixed, has, has_size, set_size, there, title
from foldpress.optimizer.follow.labels import FIXED, Entangled


def concat(following: Following, node: ir.Node) -> list[Axes]:
    """Labels along the axis are joined; along the others they are united."""
    parts = [following.input(node, position) for position in range(len(node.inputs))]
    axis = node.attributes.get_int("axis", 0) % len(parts[0])
    joined = list(parts[0])
    joined[axis] = np.concatenate([part[axis] for part in parts])
    why = f"{title(node)} joins them with what is none of a layer's channels"
    for other in parts[1:]:
        for number, labels in enumerate(other):
            if number != axis:
                following.labels.unite(joined[number], labels, why)
    return [joined]


def split(following: Following, node: ir.Node) -> list[Axes]:
    """The labels of each part; surgery sets the sizes."""
    x = following.input(node, 0)
    axis = node.attributes.get_int("axis", 0) % len(x)
    sizes = [following.sizes(value)[axis] for value in node.outputs]
    parts = np.split(x[axis], np.cumsum(sizes)[:-1])

    def patch(cut: Cut) -> None:
        if cut.goes(x[axis]):
            node.attributes.pop("num_outputs", None)
            cut.store(node, 1, np.array([len(cut.left(part)) for part in parts], np.int64))

    following.patches.append(patch)
    return [[part if number == axis else labels for number, labels in enumerate(x)] for part in parts]


def gather(following: Following, node: ir.Node) -> list[Axes]:
    """Labels are picked by stored indices; surgery renumbers those."""
    x, indices = following.input(node, 0), following.integers(node, 1)
    axis = node.attributes.get_int("axis", 0) % len(x)
    if indices is None or indices.ndim != 1:
        following.labels.freeze([x[axis]], f"{title(node)} picks single ones of them")
        picked = following.input(node, 1)
    else:
        positions = indices % len(x[axis])
        picked = [x[axis][positions]]
        following.patches.append(partial(_renumber, node, x[axis], positions))
    return [[*x[:axis], *picked, *x[axis + 1 :]]]


def _renumber(node: ir.Node, labels: Indices, positions: Indices, cut: Cut) -> None:
    if cut.goes(labels):
        number = np.cumsum(cut.alive[labels]) - 1
        cut.store(node, 1, number[positions[cut.alive[labels[positions]]]].astype(np.int64))


def cut_out(following: Following, node: ir.Node) -> list[Axes]:
    """Slice: labels between stored bounds; surgery moves those."""
    x = following.input(node, 0)
    bounds = [following.integers(node, position) for position in range(1, len(node.inputs))]
    if any(bound is None for bound in bounds):
        raise Entangled(f"{title(node)} cuts at bounds that are computed")
    starts, ends, axes, steps = _bounds(len(x), *(bound for bound in bounds if bound is not None))
    out = list(x)
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        out[axis] = x[axis][slice(*_ends(len(x[axis]), start, end, step), step)]
        if step != 1:
            following.labels.freeze([x[axis]], f"{title(node)} leaves some of them out at intervals")

    def patch(cut: Cut) -> None:
        if any(cut.goes(x[axis]) for axis in axes):
            moved = [_moved(cut, x[axis], *one) for axis, *one in zip(axes, starts, ends, steps, strict=True)]
            cut.store(node, 1, np.array([first for first, _ in moved], np.int64))
            cut.store(node, 2, np.array([last for _, last in moved], np.int64))

    following.patches.append(patch)
    return [out]


def _bounds(rank: int, starts: Indices, ends: Indices, *more: Indices) -> list[list[int]]:
    axes = [int(axis) % rank for axis in more[0]] if more else list(range(len(starts)))
    steps = more[1].tolist() if len(more) > 1 else [1] * len(starts)
    return [starts.tolist(), ends.tolist(), axes, steps]


def _ends(size: int, start: int, end: int, step: int) -> tuple[int, int | None]:
    first, last, _ = slice(start, end, step).indices(size)
    return first, None if last < 0 else last


def _moved(cut: Cut, labels: Indices, start: int, end: int, step: int) -> tuple[int, int]:
    if not cut.goes(labels):
        return start, end
    first, last = _ends(len(labels), start, end, step)
    return len(cut.left(labels[:first])), len(cut.left(labels[:last]))


def pad(following: Following, node: ir.Node) -> list[Axes]:
    """Padded positions have labels of their own: they are constant, and may go with what they are added to."""
    x, stored = following.input(node, 0), following.integers(node, 1)
    axes = following.integers(node, 3)
    if stored is None or (has(node, 3) and axes is None):
        raise Entangled(f"{title(node)} pads by amounts that are computed")
    where = list(range(len(x))) if axes is None else [int(axis) % len(x) for axis in axes]
    ends = dict(zip(where, stored.reshape(2, -1).T.tolist(), strict=True))
    out, added = list(x), {}
    for axis, (before, after) in ends.items():
        constant = node.attributes.get_string("mode", "constant") == "constant" and min(before, after) >= 0
        if (before or after) and not constant:
            following.labels.freeze([x[axis]], f"{title(node)} repeats or crops them")
        free = constant and bool((x[axis] != FIXED).any())
        added[axis] = [_padding(following, size, free=free) for size in (before, after)]
        out[axis] = np.concatenate([added[axis][0], _cropped(x[axis], before, after), added[axis][1]])

    def patch(cut: Cut) -> None:
        if any(cut.goes(labels) for pair in added.values() for labels in pair):
            amounts = [[len(cut.left(part)) if part.any() else size for part, size in zip(added[axis], ends[axis], strict=True)]
                       for axis in where]  # fmt: skip
            cut.store(node, 1, np.array(amounts, np.int64).T.ravel())

    following.patches.append(patch)
    return [out]


def _padding(following: Following, size: int, *, free: bool) -> Indices:
    return following.labels.fresh(size) if free else fixed(max(size, 0))


def _cropped(labels: Indices, before: int, after: int) -> Indices:
    return labels[max(0, -before) : len(labels) - max(0, -after)]


def transpose(following: Following, node: ir.Node) -> list[Axes]:
    """The axes change places."""
    x = following.input(node, 0)
    order = node.attributes.get_ints("perm") or tuple(reversed(range(len(x))))
    return [[x[axis] for axis in order]]


def expand(following: Following, node: ir.Node) -> list[Axes]:
    """Axes are repeated from one position: equal positions, which may go where the shape can be changed."""
    value, sizes = there(node, 1), following.sizes(node.outputs[0])
    x = following.input(node, 0)
    x = [fixed(1)] * (len(sizes) - len(x)) + x
    out = []
    for axis, (labels, size) in enumerate(zip(x, sizes, strict=True)):
        changeable = has_size(following.model, value, axis)
        repeated = len(labels) < size
        following.labels.freeze([labels] if repeated or not changeable else [], f"{title(node)} repeats them")
        out.append((following.labels.fresh(size) if changeable else fixed(size)) if repeated else labels)

    def patch(cut: Cut) -> None:
        for axis, labels in enumerate(out):
            if cut.goes(labels):
                set_size(cut, node, 1, axis, len(cut.left(labels)))

    following.patches.append(patch)
    return [out]


def tile(following: Following, node: ir.Node) -> list[Axes]:
    """Labels repeat with their positions."""
    x, repeats = following.input(node, 0), following.integers(node, 1)
    if repeats is None:
        raise Entangled(f"{title(node)} repeats by numbers that are computed")
    return [[np.tile(labels, int(count)) for labels, count in zip(x, repeats, strict=True)]]


def channels_to_places(following: Following, node: ir.Node) -> list[Axes]:
    """DepthToSpace [N, C · b², H, W] to [N, C, H · b, W · b], and back: the b² channels of one go together."""
    x = following.input(node, 0)
    area = node.attributes.get_int("blocksize", 1) ** 2
    following.labels.freeze(x[2:], f"{title(node)} makes channels of them")
    why = f"{title(node)} makes places of them"
    if node.op_type == "SpaceToDepth":
        return [following.output(node, {0: x[0], 1: np.tile(x[1], area)})]
    by_column = node.attributes.get_string("mode", "DCR") == "CRD"
    blocks = x[1].reshape(-1, area).T if by_column else x[1].reshape(area, -1)
    following.labels.unite(blocks[:1], blocks, why)
    return [following.output(node, {0: x[0], 1: blocks[0]})]
