"""Rules for operators that multiply by weights, and for normalization."""

import numpy as np
import onnx_ir as ir

from foldpress.data import Indices
from foldpress.optimizer.follow.following import Axes, Cut, Following, Use, has, is_zero, there, title
from foldpress.optimizer.follow.labels import Entangled
from foldpress.optimizer.follow.pointwise import broadcast_axes


def contract(following: Following, node: ir.Node, first: tuple[int, int], second: tuple[int, int]) -> None:
    """A node sums over an axis, (input, axis), of each of two inputs: a channel that is zero contributes nothing."""
    left, right = (following.input(node, position)[axis] for position, axis in (first, second))
    following.labels.unite(
        left, right, f"{title(node)} sums over them together with what is none of a layer's channels"
    )
    following.sums(node, *(second if there(node, second[0]).is_initializer() else first))


def convolution(following: Following, node: ir.Node) -> list[Axes]:
    """[N, C, …] by [M, C / groups, …] to [N, M, …]."""
    x, weight = following.input(node, 0), _weight(following, node)
    following.labels.freeze([*x[2:], *weight[2:]], f"{title(node)} moves over them")
    groups = node.attributes.get_int("group", 1)
    if groups == 1:
        contract(following, node, (0, 1), (1, 1))
    else:
        following.labels.freeze([weight[1]], f"{title(node)} is a grouped convolution")
        _whole_groups(following, node, [x[1], weight[0]], groups)
    return [_with_bias(following, node, x[0], weight[0])]


def transposed_convolution(following: Following, node: ir.Node) -> list[Axes]:
    """[N, C, …] by [C, M / groups, …] to [N, M, …]."""
    x, weight = following.input(node, 0), _weight(following, node)
    following.labels.freeze([*x[2:], *weight[2:]], f"{title(node)} moves over them")
    groups = node.attributes.get_int("group", 1)
    if groups == 1:
        contract(following, node, (0, 1), (1, 0))
        return [_with_bias(following, node, x[0], weight[1])]
    following.labels.freeze([weight[1]], f"{title(node)} is a grouped convolution")
    made = np.repeat(weight[0].reshape(groups, -1)[:, 0], len(weight[1]))
    _whole_groups(following, node, [x[1], weight[0]], groups)
    return [_with_bias(following, node, x[0], made)]


def _whole_groups(following: Following, node: ir.Node, ends: list[Indices], groups: int) -> None:
    """Of a grouped convolution, whole groups go, with all their inputs and outputs."""
    first = ends[1].reshape(groups, -1)[:, :1]
    for labels in ends:
        following.labels.unite(first, labels.reshape(groups, -1), f"{title(node)} convolves them in groups")

    def patch(cut: Cut) -> None:
        node.attributes["group"] = ir.AttrInt64("group", len(cut.left(first.ravel())))

    following.whole.append(node)
    following.patches.append(patch)


def _with_bias(following: Following, node: ir.Node, samples: Indices, made: Indices) -> Axes:
    if has(node, 2):
        following.labels.unite(following.input(node, 2)[0], made, f"the bias of {title(node)} is computed")
    return [samples, made, *following.output(node, {})[2:]]


def _weight(following: Following, node: ir.Node) -> Axes:
    if not there(node, 1).is_initializer():
        raise Entangled(f"the weight of {title(node)} is computed")
    return following.input(node, 1)


def gemm(following: Following, node: ir.Node) -> list[Axes]:
    """[N, K] by [K, M], either of them transposed, plus a bias."""
    transposed = [node.attributes.get_int(name, 0) for name in ("transA", "transB")]
    first, second = following.input(node, 0), following.input(node, 1)
    contract(following, node, (0, 1 - transposed[0]), (1, transposed[1]))
    made = [first[transposed[0]], second[1 - transposed[1]]]
    if has(node, 2):
        made = broadcast_axes(following, node, [made, following.input(node, 2)])
    return [made]


def matmul(following: Following, node: ir.Node) -> list[Axes]:
    """[…, T, K] by […, K, M]."""
    first, second = following.input(node, 0), following.input(node, 1)
    if min(len(first), len(second)) < 2:
        raise Entangled(f"{title(node)} multiplies by a vector")
    contract(following, node, (0, len(first) - 1), (1, len(second) - 2))
    following.works += [Use(node, 0, axis, labels, "meets") for axis, labels in enumerate(first)]
    following.works.append(Use(node, 1, len(second) - 1, second[-1], "meets"))
    return [[*broadcast_axes(following, node, [first[:-2], second[:-2]]), first[-2], second[-1]]]


def per_channel(following: Following, node: ir.Node) -> list[Axes]:
    """Batch and instance normalization: stored parameters for each channel."""
    x = following.input(node, 0)
    for position in range(1, len(node.inputs)):
        why = f"{title(node)} normalizes them by what is computed"
        following.labels.unite(following.input(node, position)[0], x[1], why)
    if node.op_type == "InstanceNormalization":
        following.labels.freeze(x[2:], f"{title(node)} needs all of them")
    return [x]


def group_normalization(following: Following, node: ir.Node) -> list[Axes]:
    """[N, C, …] in groups of channels, which go as a whole; scales and biases are for each channel, or (opset 18) each group."""
    x, count = following.input(node, 0), node.attributes.get_int("num_groups", 1)
    why = f"{title(node)} normalizes them in groups"
    groups = x[1].reshape(count, -1)[:, :1]
    following.labels.unite(groups, x[1].reshape(count, -1), why)
    following.labels.freeze(x[2:], f"{title(node)} needs all of them")
    for position in (1, 2):
        following.labels.unite(groups, following.input(node, position)[0].reshape(count, -1), why)

    def patch(cut: Cut) -> None:
        node.attributes["num_groups"] = ir.AttrInt64("num_groups", len(cut.left(groups.ravel())))

    following.patches.append(patch)
    return [x]


def skip_normalization(following: Following, node: ir.Node) -> list[Axes]:
    """com.microsoft: the layer normalization of a sum, and the sum itself."""
    inputs = [following.input(node, position) for position in range(len(node.inputs)) if has(node, position)]
    x = broadcast_axes(following, node, inputs[:2])
    following.labels.freeze([axes[-1] for axes in inputs], f"{title(node)} needs all of them")
    return [x if number in (0, 3) else [] for number in range(len(node.outputs))]


def over_axes(following: Following, node: ir.Node) -> list[Axes]:
    """Softmax, layer normalization and the like: what they normalize over stays."""
    x = following.input(node, 0)
    start = node.attributes.get_int("axis", -1) % len(x)
    last = node.op_type in ("LayerNormalization", "RMSNormalization")
    frozen = x[start:] if last else [x[start]]
    for position in range(1, len(node.inputs)):
        frozen += following.input(node, position) if has(node, position) else []
    following.labels.freeze(frozen, f"{title(node)} needs all of them")
    return [x]


def recurrent(following: Following, node: ir.Node) -> list[Axes]:
    """LSTM, GRU and RNN: hidden units go from every gate, both directions, and the initial states."""
    if node.attributes.get_int("layout", 0):
        raise Entangled(f"{title(node)} has its samples first")
    x, weight, recurrence = (following.input(node, position) for position in range(3))
    why = f"{title(node)} computes them with others"
    units = recurrence[2]
    zeros = [n for n in (5, 6) if has(node, n) and is_zero(following.model, there(node, n))]
    for position in range(3, len(node.inputs)):
        if has(node, position) and position not in (4, *zeros):
            following.labels.freeze(following.input(node, position)[:-1], why)
            _per_unit(following, node, position, units)
    for position, axes in ((1, weight), (2, recurrence)):
        _per_unit(following, node, position, units, axis=1)
        following.labels.freeze([axes[0]], why)
    following.labels.freeze(x[:2], why)
    contract(following, node, (0, 2), (1, 2))
    following.sums(node, 2, 2)

    def patch(cut: Cut) -> None:
        for position in zeros if cut.goes(units) else ():  # what the operator starts from where it is given nothing
            node.replace_input_with(position, None)
        node.attributes["hidden_size"] = ir.AttrInt64("hidden_size", len(cut.left(units)))

    following.patches.append(patch)
    return [following.output(node, {len(following.sizes(out)) - 1: units}, number) if out.name else []
            for number, out in enumerate(node.outputs)]  # fmt: skip


def _per_unit(following: Following, node: ir.Node, position: int, units: Indices, axis: int = -1) -> None:
    """An axis holds the units once, or once for each gate."""
    labels = following.input(node, position)[axis]
    why = f"input {position} of {title(node)} is computed"
    following.labels.unite(labels.reshape(-1, len(units)), units[None], why)
