"""The rule for Einsum: a product of two operands, whose letters say which axes are one."""

import onnx_ir as ir

from foldpress.data import Indices
from foldpress.einsum import letters_of
from foldpress.optimizer.follow.following import Axes, Following, Use, title
from foldpress.optimizer.follow.labels import Entangled
from foldpress.optimizer.follow.layers import contract


def einsum(following: Following, node: ir.Node) -> list[Axes]:
    """Letters of both operands and the output are batches; those that the output lacks are summed over."""
    inputs = [following.input(node, position) for position in range(len(node.inputs))]
    operands, output = letters_of(node, [len(axes) for axes in inputs])
    if len(operands) != 2 or any(len(set(part)) < len(part) for part in (*operands, output)):
        raise Entangled(f"{title(node)} is no plain product of two operands")
    first, second = (dict(zip(part, axes, strict=True)) for part, axes in zip(operands, inputs, strict=True))
    for letter in first.keys() & second.keys():
        if len(first[letter]) != len(second[letter]):
            raise Entangled(f"{title(node)} spreads {letter} over another axis")
    for letter in sorted((first.keys() | second.keys()) - set(output)):
        if letter not in first or letter not in second:
            raise Entangled(f"{title(node)} sums {letter} of one operand alone")
        contract(following, node, (0, operands[0].index(letter)), (1, operands[1].index(letter)))
    for letter in first.keys() & second.keys() & set(output):
        following.labels.unite(first[letter], second[letter], f"{title(node)} multiplies them one by one")
    following.works += _works(node, operands, first | second)
    return [[(first | second)[letter] for letter in output]]


def _works(node: ir.Node, operands: list[str], labels: dict[str, Indices]) -> list[Use]:
    """Every letter once."""
    left, right = operands
    uses = [Use(node, 0, axis, labels[letter], "meets") for axis, letter in enumerate(left)]
    return uses + [
        Use(node, 1, axis, labels[letter], "meets") for axis, letter in enumerate(right) if letter not in left
    ]
