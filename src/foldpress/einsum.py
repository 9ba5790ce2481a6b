"""The equation of an Einsum, as letters: one string for each operand and one for what comes out."""

import math
from collections.abc import Sequence
from string import ascii_uppercase

import onnx_ir as ir


def letters_of(node: ir.Node, ranks: Sequence[int]) -> tuple[list[str], str]:
    """Operands and output. An ellipsis becomes letters that the equation does not use.

    Args:
        node: an Einsum.
        ranks: of its operands.
    """
    equation = node.attributes.get_string("equation", "").replace(" ", "")
    operands, arrow, output = equation.partition("->")
    parts = operands.split(",")
    free = [letter for letter in ascii_uppercase if letter not in equation]
    widths = [rank - len(part.replace("...", "")) for part, rank in zip(parts, ranks, strict=True)]
    wide = max((width for part, width in zip(parts, widths, strict=True) if "..." in part), default=0)
    if not arrow:  # without an output: the letters that occur once, in order, behind the ellipsis
        once = [letter for letter in sorted(set(operands)) if letter.isalpha() and operands.count(letter) == 1]
        output = "..." * ("..." in operands) + "".join(once)
    ellipses = "".join(free[:wide])
    spelled = [part.replace("...", ellipses[wide - width :]) for part, width in zip(parts, widths, strict=True)]
    return spelled, output.replace("...", ellipses)


def multiplications(operands: Sequence[str], output: str, sizes: dict[str, int]) -> int:
    """Multiply-accumulates, two operands at a time from the left, each time summing over what nothing else needs."""
    total, joined = 0, operands[0]
    for number, operand in enumerate(operands[1:], 2):
        letters = dict.fromkeys(joined + operand)
        total += math.prod(sizes[letter] for letter in letters)
        needed = set(output).union(*operands[number:])
        joined = "".join(letter for letter in letters if letter in needed)
    return total
