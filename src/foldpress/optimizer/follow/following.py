"""What one pass over a graph finds out: the labels of every tensor, who consumes them, and what surgery has to adapt."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import onnx_ir as ir

from foldpress.data import Indices
from foldpress.graph import add_initializer, initializer, set_initializer
from foldpress.macs import MATRIX_OPERATORS
from foldpress.matmul_nbits import DOMAIN
from foldpress.optimizer.follow.labels import FIXED, Entangled, Labels
from foldpress.sample_shapes import Shapes

_MOVES = {"Expand", "Slice", "Gather", "Reshape", "Squeeze", "Unsqueeze", "Transpose", "Split", "Tile", "Identity"}

Axes = list[Indices]  # the labels of each axis of a tensor
Role = Literal["holds", "consumes", "meets"]


@dataclass(frozen=True, eq=False)
class Use:
    """An input of a node whose positions along `axis` carry labels.

    The node holds them (a stored tensor), consumes them (sums over them by a stored weight) or lets them meet (sums over the
    product of two computed tensors).
    """

    node: ir.Node
    position: int
    axis: int
    labels: Indices
    role: Role


@dataclass(eq=False)
class Cut:
    """A graph under surgery, and which labels are left."""

    model: ir.Model
    alive: "np.ndarray[tuple[int], np.dtype[np.bool_]]"

    def left(self, labels: Indices) -> Indices:
        """The positions that stay."""
        return np.flatnonzero(self.alive[labels])

    def goes(self, labels: Indices) -> bool:
        """Whether any of the positions goes."""
        return not self.alive[labels].all()

    def store(self, node: ir.Node, position: int, array: "np.ndarray[tuple[int, ...], np.dtype[Any]]") -> None:
        """Give a node a stored input of its own: what it had may be shared with one that stays as it is."""
        node.resize_inputs(max(len(node.inputs), position + 1))
        name = f"{node.name or node.outputs[0].name}_{position}"
        node.replace_input_with(position, add_initializer(self.model, name, array))


@dataclass(eq=False)
class Following:
    """The state of the pass.

    `shapes` are those for one sample. `choices` says, for a node that splits a labelled axis, which of the new axes carries the
    labels: its number among those that could; `splits` holds how many could, and the labels given.
    """

    model: ir.Model
    shapes: Shapes
    choices: dict[ir.Node, int]
    labels: Labels = field(default_factory=Labels)
    axes: dict[ir.Value, Axes] = field(default_factory=dict)
    parameters: dict[tuple[ir.Node, int], Axes] = field(
        default_factory=dict
    )  # stored tensors that are no layer's weight
    uses: dict[tuple[ir.Node, int, int], Use] = field(default_factory=dict)
    works: list[Use] = field(default_factory=list)  # of products of computed tensors: axes that they have work for
    whole: list[ir.Node] = field(default_factory=list)  # grouped convolutions, of which whole groups go
    splits: dict[ir.Node, tuple[int, Indices]] = field(default_factory=dict)
    patches: list[Callable[[Cut], None]] = field(default_factory=list)

    def input(self, node: ir.Node, position: int) -> Axes:
        """Labels of an input, fresh ones for a stored tensor that is met for the first time."""
        value = there(node, position)
        stored = self._stored(value)
        # Equal parameters of several layers are often stored once; surgery then gives each layer what it needs.
        own = stored is not None and value not in self.axes and position not in weight_inputs(node)
        if own and (node, position) not in self.parameters:
            self.parameters[node, position] = self._fresh(value)
        elif not own and value not in self.axes:
            self.axes[value] = self._fresh(value)
        axes = self.parameters[node, position] if own else self.axes[value]
        if stored is not None:
            for axis, labels in enumerate(axes):
                self.uses.setdefault((node, position, axis), Use(node, position, axis, labels, "holds"))
        return axes

    def _fresh(self, value: ir.Value) -> Axes:
        stored = self._stored(value)
        sizes = stored.shape if stored is not None else self.sizes(value)
        return [self.labels.fresh(n) if stored is not None and n > 1 else fixed(n) for n in sizes]

    def sizes(self, value: ir.Value) -> tuple[int, ...]:
        """The shape for one sample.

        Raises:
            Entangled: it is not known.
        """
        sizes = self.shapes.get(str(value.name), (None,))
        if None in sizes:
            raise Entangled(f"the shape of {value.name} is not known")
        return tuple(int(size or 0) for size in sizes)

    def output(self, node: ir.Node, labelled: dict[int, Indices], number: int = 0) -> Axes:
        """Axes of an output that is fixed but for the labels given."""
        sizes = self.sizes(node.outputs[number])
        return [labelled.get(axis, fixed(size)) for axis, size in enumerate(sizes)]

    def sums(self, node: ir.Node, position: int, axis: int) -> None:
        """A node sums over the labels along an axis of one of its inputs."""
        role: Role = "meets" if self._stored(there(node, position)) is None else "consumes"
        self.uses[node, position, axis] = Use(node, position, axis, self.input(node, position)[axis], role)

    def integers(self, node: ir.Node, position: int) -> "np.ndarray[tuple[int, ...], np.dtype[np.int64]] | None":
        """A stored input such as sizes, axes or indices; None where there is none or it is computed."""
        return initializer(self.model, node.inputs[position]) if has(node, position) else None

    def _stored(self, value: ir.Value) -> "np.ndarray[tuple[int, ...], np.dtype[np.float32]] | None":
        if value.is_graph_input() or value.is_graph_output():
            return None
        array = initializer(self.model, value)
        return array if array is not None and value.dtype is not None and value.dtype.is_floating_point() else None


def is_zero(model: ir.Model, value: ir.Value) -> bool:
    """Whether a tensor holds nothing but stored zeros, moved about."""
    stored, node = initializer(model, value), value.producer()
    if stored is not None:
        return not stored.any()
    return node is not None and node.op_type in _MOVES and has(node, 0) and is_zero(model, there(node, 0))


def weight_inputs(node: ir.Node) -> list[int]:
    """The inputs of a node that are stored weight matrices."""
    could: tuple[int, ...] = {"LSTM": (1, 2), "GRU": (1, 2), "RNN": (1, 2), "MatMul": (0, 1), "Einsum": (0, 1)}.get(
        node.op_type, (1,)
    )
    if node.op_type in ("Attention", "MultiHeadAttention") and not is_packed_attention(node):
        could = ()
    return [
        position for position in could if node.op_type in MATRIX_OPERATORS and there(node, position).is_initializer()
    ]


def is_packed_attention(node: ir.Node) -> bool:
    """Whether a node makes queries, keys and values itself, by one weight."""
    return node.op_type == "Attention" and node.domain == DOMAIN


def fixed(size: int) -> Indices:
    """Labels of positions that have to stay."""
    return np.full(size, FIXED, np.intp)


def has(node: ir.Node, position: int) -> bool:
    """Whether a node is given that input."""
    return position < len(node.inputs) and node.inputs[position] is not None


def there(node: ir.Node, position: int) -> ir.Value:
    """An input that the operator requires."""
    value = node.inputs[position]
    if value is None:
        raise Entangled(f"{title(node)} lacks an input")
    return value


def title(node: ir.Node) -> str:
    """Operator and name, as in messages."""
    return f"{node.op_type} {node.name or node.outputs[0].name}"


def set_size(cut: Cut, node: ir.Node, position: int, axis: int, size: int) -> None:
    """Change one entry of a shape that `has_size` says can be changed."""
    value = there(node, position)
    stored = initializer(cut.model, value)
    if stored is not None:
        changed = stored.copy()
        changed[axis] = size
        cut.store(node, position, changed)
        return
    parts, number, entry = _part(cut.model, value, axis)
    assert parts is not None  # noqa: S101  # see has_size
    set_size(cut, parts, number, entry, size)


def has_size(model: ir.Model, value: ir.Value, axis: int) -> bool:
    """Whether an entry of a shape is stored, by itself or as a part of a Concat that nothing else reads."""
    return initializer(model, value) is not None or _part(model, value, axis)[0] is not None


def _part(model: ir.Model, value: ir.Value, axis: int) -> tuple[ir.Node | None, int, int]:
    node = value.producer()
    if node is None or node.op_type != "Concat" or len(value.uses()) > 1:
        return None, 0, 0
    start = 0
    for number, part in enumerate(node.inputs):
        if part is None or part.shape is None or not isinstance(part.shape[0], int):
            break
        if start <= axis < start + part.shape[0]:
            return (node if initializer(model, part) is not None else None), number, axis - start
        start += part.shape[0]
    return None, 0, 0


def cut_stored(cut: Cut, following: Following) -> None:
    """Take the positions that go out of every stored tensor."""
    for (node, position), axes in following.parameters.items():
        value = there(node, position)
        if len(value.uses()) > 1 and (value in following.axes or any(map(cut.goes, axes))):
            cut.store(node, position, _taken(cut, value, axes))
        elif any(map(cut.goes, axes)):
            set_initializer(cut.model, str(value.name), _taken(cut, value, axes))
    for value, axes in following.axes.items():
        if any(map(cut.goes, axes)) and value.is_initializer():
            set_initializer(cut.model, str(value.name), _taken(cut, value, axes))


def _taken(cut: Cut, value: ir.Value, axes: Axes) -> "np.ndarray[tuple[int, ...], np.dtype[np.float32]]":
    stored = initializer(cut.model, value)
    assert stored is not None  # noqa: S101  # only stored tensors are cut
    for axis, labels in enumerate(axes):
        stored = np.take(stored, cut.left(labels), axis=axis)
    return stored
