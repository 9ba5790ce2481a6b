"""Rules for attention as one operator: heads go as a whole, with the queries, keys and values that they read and what they give.

Where several heads share keys and values (grouped queries), they go together.
"""

import numpy as np
import onnx_ir as ir

from foldpress.data import Indices
from foldpress.optimizer.follow.following import Axes, Cut, Following, Use, has, there, title
from foldpress.optimizer.follow.labels import Entangled
from foldpress.optimizer.follow.layers import contract


def packed_attention(following: Following, node: ir.Node) -> list[Axes]:
    """com.microsoft.Attention: [N, T, D] by [D, queries, keys and values] to [N, T, heads · width]."""
    _refuse_memory(node, 4, 6)
    if not there(node, 1).is_initializer():
        raise Entangled(f"the weight of {title(node)} is computed")
    x, weight = following.input(node, 0), following.input(node, 1)
    contract(following, node, (0, 2), (1, 0))
    count = node.attributes.get_int("num_heads", 0)
    sizes = [*(node.attributes.get_ints("qkv_hidden_sizes") or [len(weight[1]) // 3] * 3)]
    heads = _together(following, node, np.split(weight[1], np.cumsum(sizes)[:-1]), count)
    if has(node, 2):
        following.labels.unite(following.input(node, 2)[0], weight[1], f"the bias of {title(node)} is computed")
    following.labels.freeze([x[1]], f"{title(node)} mixes them")
    _by_head(following, node, (3, 5), heads)

    def patch(cut: Cut) -> None:
        _set_heads(node, {"num_heads": len(cut.left(heads))})
        if "qkv_hidden_sizes" in node.attributes:
            left = [size // count * len(cut.left(heads)) for size in sizes]
            node.attributes["qkv_hidden_sizes"] = ir.AttrInt64s("qkv_hidden_sizes", left)

    following.patches.append(patch)
    return [[x[0], x[1], np.repeat(heads, sizes[2] // count)]]


def multi_head_attention(following: Following, node: ir.Node) -> list[Axes]:
    """com.microsoft.MultiHeadAttention: queries, keys and values of [N, T, heads · width] each."""
    _refuse_memory(node, 6, 7, 8, 9)
    made = _queries_keys_values(following, node)
    if {len(axes) for axes in made} != {3}:
        raise Entangled(f"{title(node)} is given its keys and values in another layout")
    features = [axes[2] for axes in made]
    heads = _together(following, node, features, node.attributes.get_int("num_heads", 0))
    if has(node, 3):
        why = f"the bias of {title(node)} is computed"
        following.labels.unite(following.input(node, 3)[0], np.concatenate(features), why)
    _by_head(following, node, (4, 5), heads)
    following.works.append(Use(node, 0, 2, features[0], "meets"))
    following.patches.append(lambda cut: _set_heads(node, {"num_heads": len(cut.left(heads))}))
    return [[*made[0][:2], np.repeat(heads, len(features[2]) // len(heads))]]


def attention(following: Following, node: ir.Node) -> list[Axes]:
    """ONNX's own: queries, keys and values of [N, T, heads · width] or [N, heads, T, width]; fewer heads of the last two."""
    _refuse_memory(node, 4, 5, 6)
    made = _queries_keys_values(following, node)
    flat = len(made[0]) == 3
    axis = 2 if flat else 1
    names = "q_num_heads", "kv_num_heads"
    queries, count = (
        node.attributes.get_int(name, 0) if flat else len(axes[1]) for name, axes in zip(names, made, strict=False)
    )
    heads = _together(following, node, [axes[axis] for axes in made], count)
    if not flat:
        following.labels.freeze([axes[3] for axes in made], f"{title(node)} needs all of them")
    _by_head(following, node, (3,), heads)
    following.works.append(Use(node, 0, axis, made[0][axis], "meets"))

    def patch(cut: Cut) -> None:
        left = len(cut.left(heads))
        _set_heads(node, {"q_num_heads": left * queries // count, "kv_num_heads": left} if flat else {})

    following.patches.append(patch)
    given = following.sizes(node.outputs[0])[axis]
    return [following.output(node, {0: made[0][0], axis: np.repeat(heads, given // count)})]


def _refuse_memory(node: ir.Node, *past: int) -> None:
    """Of attention that keeps what it has seen, every head stays."""
    if any(has(node, position) for position in past) or any(value.name for value in node.outputs[1:]):
        raise Entangled(f"{title(node)} keeps keys and values for the next step")


def _queries_keys_values(following: Following, node: ir.Node) -> list[Axes]:
    if not (has(node, 1) and has(node, 2)):
        raise Entangled(f"{title(node)} is given its keys and values in another layout")
    made = [following.input(node, position) for position in range(3)]
    following.labels.freeze([axes[-2] for axes in made], f"{title(node)} mixes them")
    return made


def _together(following: Following, node: ir.Node, parts: list[Indices], count: int) -> Indices:
    """Unite all that belongs to one head, and give one label for each, [count]."""
    heads = parts[0].reshape(count, -1)[:, 0]
    for part in parts:
        following.labels.unite(heads[:, None], part.reshape(count, -1), f"{title(node)} takes heads as a whole")
    return heads


def _by_head(following: Following, node: ir.Node, positions: tuple[int, ...], heads: Indices) -> None:
    """Masks and what is added to the scores, [N, heads, T, S]: what there is for each head goes with it, the rest stays."""
    for position in positions:
        axes = following.input(node, position) if has(node, position) else []
        for axis, labels in enumerate(axes):
            if axis == len(axes) - 3 and len(labels) > 1 and len(labels) % len(heads) == 0:
                why = f"input {position} of {title(node)} is computed"
                following.labels.unite(heads[:, None], labels.reshape(len(heads), -1), why)
            else:
                following.labels.freeze([labels], f"{title(node)} needs all of them")


def _set_heads(node: ir.Node, counts: dict[str, int]) -> None:
    for name, count in counts.items():
        node.attributes[name] = ir.AttrInt64(name, count)
