"""What is asked of single layers: by name or that of their weight, by the type of their operator, or as the first or last one."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

import onnx_ir as ir

from foldpress.errors import RequestError

FIRST, LAST = "first", "last"
_LISTED = 40  # layers that a message names at most

T = TypeVar("T")


def by_layer(
    key: str, asked: Mapping[str, T], layers: Sequence[ir.Node], others: Iterable[ir.Node] = ()
) -> dict[str, T]:
    """What is asked of each node, by its name; a name goes before "first" and "last", and these before a type.

    Args:
        key: of the recipe, for the message.
        asked: by names, names of stored weights, types, "first" and "last".
        layers: that have weights, in graph order: of these one is the first, and one the last.
        others: nodes that may be asked for by name or type too.

    Raises:
        RequestError: there is none of such a name or type.
    """
    ends = {FIRST: layers[:1], LAST: layers[-1:]}
    nodes = list(dict.fromkeys([*layers, *others]))
    by_type = {node.op_type: [one for one in nodes if one.op_type == node.op_type] for node in nodes}
    by_name = {name: [node] for node in nodes for name in _names(node)}
    known = by_name | ends | by_type
    for one in asked:
        if not known.get(one):
            near = difflib.get_close_matches(one, sorted(known), 3)
            raise RequestError(
                f"{key} names {one!r}, but no layer has that name or operator",
                available=", ".join(
                    near or [FIRST, LAST, *sorted(by_type), *(str(node.name) for node in layers[:_LISTED])]
                ),
                mend="foldpress inspect MODEL.onnx lists the layers",
            )
    kinds: tuple[Mapping[str, Sequence[ir.Node]], ...] = (by_type, ends, by_name)
    return {str(node.name): asked[one] for kind in kinds for one in asked if one in kind for node in kind[one]}


def _names(node: ir.Node) -> list[str]:
    """Its own, and that of its weight, by which PyTorch knows it."""
    return [
        str(node.name),
        *(str(value.name) for value in node.inputs[1:2] if value is not None and value.is_initializer()),
    ]
