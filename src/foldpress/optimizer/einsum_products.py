"""An Einsum with a stored weight as what it is, a matrix product: then all that is known of matrices holds for it.

    btd,dhe->bhte   is   X [b, t, d] W [d, h·e], its last axis split to [b, t, h, e], then transposed

so that repair, factorization and int8 need to know nothing of equations.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from foldpress.einsum import letters_of
from foldpress.graph import add_initializer, initializer
from foldpress.optimizer.follow.following import there


@dataclass(frozen=True)
class _Equation:
    """Which operand is the weight; the letters of the other one, of the weight, and of the output."""

    weight: int
    left: str
    right: str
    output: str

    @property
    def parts(self) -> tuple[str, str, str]:
        """The letters that only the other operand has, those that both have, and those that only the weight has."""
        leading = [letter for letter in self.left if letter not in self.right]
        summed = [letter for letter in self.left if letter in self.right]
        made = [letter for letter in self.output if letter not in self.left]
        return "".join(leading), "".join(summed), "".join(made)

    @property
    def is_product(self) -> bool:
        """Whether it sums over what both operands have, and over nothing else."""
        leading, summed, made = self.parts
        expected = (leading + summed, self.left), (summed + made, self.right), (leading + made, self.output)
        return bool(summed and made) and all(sorted(parts) == sorted(all_of) for parts, all_of in expected)


def multiply_instead(model: ir.Model) -> ir.Model:
    """Replace every Einsum of two operands that is such a product, by a weight that nothing else reads, in place."""
    for node in [node for node in model.graph if node.op_type == "Einsum"]:
        equation = _equation(model, node)
        if equation is not None and equation.is_product:
            nodes = _nodes(model, node, equation)
            ir.convenience.replace_nodes_and_values(model.graph, node, [node], nodes, node.outputs, nodes[-1].outputs)
    return model


def _equation(model: ir.Model, node: ir.Node) -> _Equation | None:
    values = [there(node, number) for number in range(len(node.inputs))]
    stored = [number for number, value in enumerate(values) if initializer(model, value) is not None]
    if len(values) != 2 or len(stored) != 1 or len(values[stored[0]].uses()) > 1:
        return None
    shapes = [value.shape for value in values]
    if any(shape is None for shape in shapes):
        return None
    letters, output = letters_of(node, [len(shape or ()) for shape in shapes])
    sizes = [dict(zip(part, shape or (), strict=True)) for part, shape in zip(letters, shapes, strict=True)]
    if any(sizes[0][letter] != sizes[1][letter] for letter in sizes[0].keys() & sizes[1].keys()):
        return None  # one of them is spread, or may be
    return _Equation(stored[0], letters[1 - stored[0]], letters[stored[0]], output)


def _nodes(model: ir.Model, node: ir.Node, equation: _Equation) -> list[ir.Node]:
    """Transpose and join what is summed over, multiply, split and transpose what is made: each only where it does something."""
    leading, summed, made = equation.parts
    value, stored = there(node, equation.weight), initializer(model, there(node, equation.weight))
    assert stored is not None  # noqa: S101  # see _equation
    sizes = dict(zip(equation.right, stored.shape, strict=True))
    matrix = np.transpose(stored, _order(equation.right, summed + made)).reshape(_product(sizes, summed), -1)
    weight = add_initializer(model, f"{value.name}_matrix", matrix)
    nodes: list[ir.Node] = []

    def add(operator: str, *more: ir.Value, **attributes: Sequence[int]) -> None:
        given = nodes[-1].outputs[0] if nodes else there(node, 1 - equation.weight)
        nodes.append(ir.node(operator, [given, *more], attributes))

    def reshape(axes: Sequence[int]) -> None:
        add("Reshape", add_initializer(model, f"{value.name}_shape", np.array([0] * len(leading) + [*axes])))

    if equation.left != leading + summed:
        add("Transpose", perm=_order(equation.left, leading + summed))
    if len(summed) > 1:
        reshape([-1])
    add("MatMul", weight)
    nodes[-1].name = node.name
    if len(made) > 1:
        reshape([sizes[letter] for letter in made])
    if equation.output != leading + made:
        add("Transpose", perm=_order(leading + made, equation.output))
    return nodes


def _order(letters: str, wanted: str) -> list[int]:
    return [letters.index(letter) for letter in wanted]


def _product(sizes: dict[str, int], letters: str) -> int:
    return int(np.prod([sizes[letter] for letter in letters]))
