"""What the gates of LSTM, GRU and RNN sum over, shown as plain matrix products beside them.

With the states that the layer itself gave, every gate is linear in [x_t, h_{t−1}, 1]:

    a_t = W x_t + R h_{t−1} + b

So the product of these features with the stacked weights is a layer like any other: it has a Gram matrix, its error tells what a
unit is worth in the recurrence, and least squares repairs it. The candidate of a GRU reads r ⊙ h_{t−1}; with
`linear_before_reset` it adds r ⊙ (R h_{t−1} + b_R) to W x_t + b_W, which are two products.

Nothing reads what they give: products are there while pruning learns and repairs, and then hand their weights back.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from foldpress.contrib import infer_shapes
from foldpress.data import Array
from foldpress.graph import add_initializer, copy_graph, initializer, set_initializer
from foldpress.optimizer.follow.following import has, is_zero, there
from foldpress.optimizer.gram import MAX_FEATURES

_MARK = "/foldpress_gates"  # in the names of all that is added
_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
_PADS_BY_INPUT_SINCE = 11  # the opset in which Pad takes its amounts as an input

Weights = NDArray[np.float64]
Part = Literal["input", "state", "reset"]


@dataclass(frozen=True)
class _Product:
    """Some gates, `rows` of W and R, of one direction: what they read, and which halves of the bias they add."""

    direction: int
    rows: slice
    reads: tuple[Part, ...]
    bias: tuple[int, ...] = (0, 1)
    resets: bool = False  # another product reads the states by its second half


def with_gates(model: ir.Model) -> ir.Model:
    """A copy that shows the gates, where there are any."""
    model = copy_graph(model)
    add_gates(model)
    return model


def add_gates(model: ir.Model) -> None:
    """Show the gates of every layer that `has_gates`, in place."""
    found = [node for node in model.graph if has_gates(node)]
    for node in found:
        _Builder(model, node).add()
    if found:
        infer_shapes(model)


def store_gates(model: ir.Model) -> None:
    """Give recurrent layers the weights of the products beside them, in place."""
    for node in model.graph:
        for number, product in enumerate(_products(node)):
            name = _stored(_name(node, number))
            if name in model.graph.initializers:
                _store(model, node, product, np.array(initializer(model, model.graph.initializers[name]), np.float64))


def remove_gates(model: ir.Model) -> None:
    """Take the products away again, in place."""
    for node in reversed([*model.graph]):
        if _MARK in str(node.name):
            model.graph.remove(node, safe=True)
    for name in [name for name in model.graph.initializers if _MARK in name]:
        del model.graph.initializers[name]
    for node in model.graph:
        if _MARK in str(node.outputs[0].name):  # the layer was not asked for its states
            node.outputs[0].name = ""


def has_gates(node: ir.Node) -> bool:
    """Whether a node is a recurrent layer with float32 weights of its own, few enough features, and a usual reset gate."""
    if node.op_type not in _GATES or node.attributes.get_int("layout", 0) != 0:
        return False
    weights = [there(node, 1), there(node, 2)]
    own = all(one.is_initializer() and one.dtype == ir.DataType.FLOAT and len(one.uses()) == 1 for one in weights)
    bias = not has(node, 3) or there(node, 3).is_initializer()
    usual = node.op_type != "GRU" or not {"activations", "clip"} & set(node.attributes)
    new = node.graph is not None and node.graph.opset_imports[""] >= _PADS_BY_INPUT_SINCE
    return own and bias and usual and new and sum(map(_features, weights)) < MAX_FEATURES


def is_gate(node: ir.Node) -> bool:
    """Whether a node is a product that `add_gates` has put in."""
    return node.op_type == "MatMul" and _MARK in str(node.name)


def weighted_node(node: ir.Node) -> str:
    """The name of the node whose weights a layer's are: a product's are those of the recurrent layer."""
    return str(node.name).split(_MARK)[0]


def _features(weight: ir.Value) -> int:
    return int(weight.shape.numpy()[2]) if weight.shape is not None else 0


def _products(node: ir.Node) -> list[_Product]:
    """All of a recurrent layer, none of any other."""
    if node.op_type not in _GATES:
        return []
    units = node.attributes.get_int("hidden_size", 0)
    directions = 2 if node.attributes.get_string("direction", "forward") == "bidirectional" else 1
    return [product for direction in range(directions) for product in _of_direction(node, direction, units)]


def _of_direction(node: ir.Node, direction: int, units: int) -> list[_Product]:
    if node.op_type != "GRU":
        return [_Product(direction, slice(0, _GATES[node.op_type] * units), ("input", "state"))]
    gates, candidate = slice(0, 2 * units), slice(2 * units, 3 * units)  # ONNX stores update, reset, candidate
    if not node.attributes.get_int("linear_before_reset", 0):
        first = _Product(direction, gates, ("input", "state"), resets=True)
        return [first, _Product(direction, candidate, ("input", "reset"))]
    first = _Product(direction, gates, ("input", "state"))
    return [first, _Product(direction, candidate, ("input",), (0,)), _Product(direction, candidate, ("state",), (1,))]


def _name(node: ir.Node, number: int) -> str:
    return f"{node.name}{_MARK}{number}"


def _stored(product: str) -> str:
    return f"{product}/weight"


def _halves(model: ir.Model, node: ir.Node) -> Weights:
    """The stored biases, [directions, 2, gates · units], zero where the layer has none."""
    recurrence = np.array(initializer(model, there(node, 2)))
    stored = initializer(model, node.inputs[3]) if has(node, 3) else None
    shape = len(recurrence), 2, recurrence.shape[1]
    return np.zeros(shape) if stored is None else stored.astype(np.float64).reshape(shape)


def _weight(model: ir.Model, node: ir.Node, product: _Product) -> Weights:
    """[features + 1, outputs]: the last row is the bias."""
    positions = [1 if part == "input" else 2 for part in product.reads]
    stored = [np.array(initializer(model, there(node, position))) for position in positions]
    rows = [one[product.direction, product.rows].T.astype(np.float64) for one in stored]
    return np.vstack([*rows, _halves(model, node)[product.direction, list(product.bias), product.rows].sum(0)])


def _store(model: ir.Model, node: ir.Node, product: _Product, weight: Weights) -> None:
    start = 0
    for part in product.reads:
        value = there(node, 1 if part == "input" else 2)
        stored = np.array(initializer(model, value))
        stored[product.direction, product.rows] = weight[start : start + stored.shape[2]].T
        start += stored.shape[2]
        set_initializer(model, str(value.name), stored)
    halves = _halves(model, node)
    others = halves[product.direction, list(product.bias[1:]), product.rows].sum(0)
    halves[product.direction, product.bias[0], product.rows] = weight[start] - others
    _store_bias(model, node, halves.reshape(len(halves), -1).astype(np.float32))


def _store_bias(model: ir.Model, node: ir.Node, bias: Array) -> None:
    """Leave a layer without a bias as it is, as long as it needs none."""
    if has(node, 3) and len(there(node, 3).uses()) == 1:
        set_initializer(model, str(there(node, 3).name), bias)
    elif has(node, 3) or bias.any():
        node.resize_inputs(max(len(node.inputs), 4))
        node.replace_input_with(3, add_initializer(model, f"{node.name}_bias", bias))


class _Builder:
    """Puts the products of one layer behind it."""

    def __init__(self, model: ir.Model, node: ir.Node) -> None:
        self._model, self._node, self._last, self._count = model, node, node, 0

    def add(self) -> None:
        """All of them, direction by direction."""
        given = self._samples_first(there(self._node, 0))
        parts: dict[tuple[int, Part], ir.Value] = {}
        for number, product in enumerate(_products(self._node)):
            way = product.direction
            if (way, "state") not in parts:
                parts |= {(way, "input"): given, (way, "state"): self._samples_first(self._states(way))}
            made = self._product(number, product, [parts[way, part] for part in product.reads])
            if product.resets:
                parts[way, "reset"] = self._reset(made, parts[way, "state"])

    def _product(self, number: int, product: _Product, parts: Sequence[ir.Value]) -> ir.Value:
        """[N, T, outputs] of its parts and a feature that is 1."""
        joined = self._put("Concat", parts, axis=2) if len(parts) > 1 else parts[0]
        features = self._put("Pad", [joined, self._keep([0, 0, 0, 0, 0, 1]), self._keep(np.float32(1))])
        name = _name(self._node, number)
        weight = _weight(self._model, self._node, product).astype(np.float32)
        return self._put("MatMul", [features, add_initializer(self._model, _stored(name), weight)], name=name)

    def _reset(self, gates: ir.Value, states: ir.Value) -> ir.Value:
        """States as reset, r ⊙ h: of the gates, those of reset are the second half."""
        units = self._node.attributes.get_int("hidden_size", 0)
        half = self._put("Slice", [gates, self._keep([units]), self._keep([2 * units]), self._keep([2])])
        return self._put("Mul", [self._put("Sigmoid", [half]), states])

    def _states(self, direction: int) -> ir.Value:
        """The states before each step, [T, N, units]: those behind it, shifted by one, the initial ones before them."""
        node = self._node
        if not node.outputs[0].name:
            node.outputs[0].name = f"{node.name}{_MARK}/states"
        start = there(node, 5) if has(node, 5) and not is_zero(self._model, there(node, 5)) else None
        states = self._put("Gather", [node.outputs[0], self._keep(direction)], axis=1)
        ends = [int(start is None), -1]
        backward = direction == 1 or node.attributes.get_string("direction", "forward") == "reverse"
        first, last = reversed(ends) if backward else ends
        shifted = self._put("Pad", [states, self._keep([first, 0, 0, last, 0, 0])])
        if start is None:
            return shifted
        one = self._put("Gather", [start, self._keep([direction])], axis=0)
        return self._put("Concat", [shifted, one] if backward else [one, shifted], axis=0)

    def _samples_first(self, value: ir.Value) -> ir.Value:
        return self._put("Transpose", [value], perm=[1, 0, 2])

    def _keep(self, number: int | list[int] | np.float32) -> ir.Value:
        return add_initializer(self._model, f"{self._node.name}{_MARK}/constant", np.array(number))

    def _put(
        self, operator: str, inputs: Sequence[ir.Value], name: str = "", **attributes: int | list[int]
    ) -> ir.Value:
        self._count += 1
        node = ir.node(operator, inputs, attributes, name=name or f"{self._node.name}{_MARK}/{self._count}")
        node.outputs[0].name = node.name
        self._model.graph.insert_after(self._last, node)
        self._last = node
        return node.outputs[0]
