"""The part of a network around one group of channels, as a graph of its own that can be timed at any width."""

import hashlib
import json
from collections.abc import Collection, Iterable

import numpy as np
import onnx_ir as ir

from foldpress.errors import RequestError
from foldpress.graph import copy_graph, initializer
from foldpress.optimizer.groups import ChannelGroup, find_groups
from foldpress.optimizer.ledger import layers_of
from foldpress.optimizer.masks import Masks
from foldpress.optimizer.shrink import shrink

_TOLD = 64  # entries of a stored integer tensor (a shape, axes, pads) that decide what an operator does


def excerpt(model: ir.Model, group: ChannelGroup) -> ir.Model:
    """From what the layers that make the channels read to what the layers that consume them give; a copy.

    Where these are residual branches that may go as a whole, the sums that they end in are in it too.

    Raises:
        RequestError: it reads something that is no float tensor of known shape, and could not be made up.
    """
    inside = _between(model, layers_of(group) | {str(branch.add.name) for branch in group.branches})
    made = {value for node in inside for value in node.outputs}
    read = {value: None for node in inside for value in node.inputs if value is not None and value not in made}
    inputs = [value for value in read if initializer(model, value) is None]
    for value in inputs:
        _check_input(value)
    outputs = [value for value in _ordered(inside) if _leaves(value, inside)]
    graph = ir.convenience.extract(model.graph, inputs, outputs)
    return ir.Model(graph, ir_version=model.ir_version)


def find_again(part: ir.Model, group: ChannelGroup) -> ChannelGroup:
    """The group of a network in an excerpt of it, where it may have another name.

    Raises:
        RequestError: it is not there, or there is another one around the same layers.
    """
    alike = [one for one in find_groups(part)[0] if _looks(one) == _looks(group)]
    if len(alike) != 1:
        raise RequestError(f"{len(alike)} groups around its layers look like it")
    return alike[0]


def _looks(group: ChannelGroup) -> tuple[int, int, set[str]]:
    return group.channels, group.width, layers_of(group)


def at_width(model: ir.Model, name: str, channels: int) -> ir.Model:
    """A copy of a graph whose group `name` has only its first `channels` left."""
    cut = copy_graph(model)
    shrink(cut, Masks({name: np.arange(channels)}))
    return cut


def signature(model: ir.Model, marked: Collection[str] = ()) -> str:
    """Equal for graphs that take the same time: same operators, attributes and shapes, whatever the names and weights.

    `marked` are names of nodes or operators that are treated apart, and so change it.
    """
    numbers: dict[ir.Value | None, int] = {None: -1}
    told: list[list[object]] = [[_kind(model, value) for value in model.graph.inputs]]
    for node in model.graph:
        for value in (*node.inputs, *node.outputs):
            numbers.setdefault(value, len(numbers))
        told.append([
            node.domain, node.op_type, str(node.name) in marked or node.op_type in marked,
            sorted((name, str(attribute.value)) for name, attribute in node.attributes.items()),
            [(numbers[value], _kind(model, value)) for value in node.inputs], [numbers[value] for value in node.outputs],
        ])  # fmt: skip
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def _between(model: ir.Model, layers: Collection[str]) -> list[ir.Node]:
    """The layers, and every node on a way from one of them to another."""
    behind: set[ir.Value] = set()
    after, before = set(), set()
    for node in model.graph:
        if str(node.name) in layers or any(value in behind for value in node.inputs):
            after.add(node)
            behind.update(node.outputs)
    needed: set[ir.Value | None] = set()
    for node in reversed(model.graph):
        if str(node.name) in layers or any(value in needed for value in node.outputs):
            before.add(node)
            needed.update(node.inputs)
    return [node for node in model.graph if node in after and node in before]


def _ordered(nodes: Iterable[ir.Node]) -> list[ir.Value]:
    return [value for node in nodes for value in node.outputs]


def _leaves(value: ir.Value, inside: Collection[ir.Node]) -> bool:
    return value.is_graph_output() or any(use.node not in inside for use in value.uses())


def _check_input(value: ir.Value) -> None:
    known = value.shape is not None and all(isinstance(size, int) for size in list(value.shape)[1:])
    if value.dtype != ir.DataType.FLOAT or not known:
        raise RequestError(f"{value.name}, which it reads, is no float tensor of known shape")


def _kind(model: ir.Model, value: ir.Value | None) -> list[object]:
    """Type, shape and, of small stored integers, the values."""
    if value is None:
        return []
    shape = [size if isinstance(size, int) else "?" for size in value.shape] if value.shape is not None else None
    stored = initializer(model, value)
    decides = stored is not None and stored.dtype.kind == "i" and stored.size <= _TOLD
    return [str(value.dtype), shape, stored.tolist() if decides and stored is not None else stored is not None]
