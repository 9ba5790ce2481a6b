"""Equations as matrix products, against numpy's own reading of the equation."""

import numpy as np
import onnx_ir as ir
import pytest

from foldpress.graph import serialize
from foldpress.optimizer.cleanup import clean_up
from foldpress.optimizer.layers import weighted_layers
from foldpress.optimizer.passes import apply
from foldpress.runtime import open_session
from topologies import Weights, graph

SIZES = {"b": 3, "t": 4, "d": 6, "h": 2, "e": 5}


def operators(model: ir.Model) -> list[str]:
    return [node.op_type for node in model.graph]


@pytest.mark.parametrize(
    ("equation", "expected"),
    [
        ("btd,dh->bth", ["MatMul"]),
        ("...d,dh", ["MatMul"]),
        ("btd,hd->bth", ["MatMul"]),
        ("btd,dh->tbh", ["MatMul", "Transpose"]),
        ("btd,dhe->bthe", ["MatMul", "Reshape"]),
        ("btd,dhe->bhte", ["MatMul", "Reshape", "Transpose"]),
        ("btd,tdh->bh", ["Reshape", "MatMul"]),
        ("bdt,edt->eb", ["Reshape", "MatMul", "Transpose"]),
        ("bdt,dhe->bthe", ["Transpose", "MatMul", "Reshape"]),
        ("bdt,dhe->tbeh", ["Transpose", "MatMul", "Reshape", "Transpose"]),
        ("btd,bth->bdh", ["Einsum"]),  # every sample would need a weight of its own
        ("btd,tdh->bth", ["Einsum"]),  # every place has one
        ("btd,dh->bh", ["Einsum"]),  # sums over one operand alone
        ("btd,d->bt", ["Einsum"]),
        ("btd,h->btdh", ["Einsum"]),
    ],
)
@pytest.mark.parametrize("weight_first", [False, True])
def test_the_product_is_that_of_the_equation(equation: str, expected: list[str], weight_first: bool) -> None:
    """Catches: axes mixed up on the way in, in the weight or on the way out; a product made of what is none."""
    operands, arrow, output = equation.partition("->")
    left, right = operands.split(",")
    if weight_first and not arrow:
        return  # then the order of the output would be another
    spelled = f"{right},{left}" if weight_first else operands
    shape = [SIZES[letter] for letter in left.replace("...", "bt")]
    body = f'y = Einsum<equation="{spelled}{arrow}{output}">({"w, x" if weight_first else "x, w"})'
    sizes: Weights = {"w": tuple(SIZES[letter] for letter in right)}
    free = "N" if left[0] in "b." and right[0] != "b" else SIZES[left[0]]
    rank = len(output) if arrow else 3
    given = graph(body, sizes, f"float[{free}, {shape[1]}, {shape[2]}]", f"float[{', '.join('pqrs'[:rank])}]")
    made = apply(clean_up(), given).model
    assert operators(made) == expected
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    weight = given.graph.initializers["w"].const_value
    assert weight is not None
    pair = (weight.numpy(), x) if weight_first else (x, weight.numpy())
    [found] = open_session(serialize(made)).run(None, {"x": x})
    np.testing.assert_allclose(found, np.einsum(f"{spelled}{arrow}{output}", *pair), rtol=1e-4, atol=1e-5)


def test_a_weight_that_two_equations_read_stays_one() -> None:
    """Catches: a file that grows by copies of a shared weight."""
    body = 'a = Einsum<equation="btd,de->bte">(x, w) y = Einsum<equation="btd,de->bte">(a, w)'
    model = apply(clean_up(), graph(body, {"w": (6, 6)}, "float[N, 4, 6]", "float[N, T, 6]")).model
    assert operators(model) == ["Einsum", "Einsum"]


def test_an_axis_that_is_spread_stays_an_equation() -> None:
    """Catches: a matrix of six rows for an input of one column, which the equation takes six times."""
    body = 'y = Einsum<equation="btd,de->bte">(x, w)'
    model = apply(clean_up(), graph(body, {"w": (6, 5)}, "float[N, 4, 1]", "float[N, 4, 5]")).model
    assert operators(model) == ["Einsum"]


def test_it_is_a_layer_by_its_own_name() -> None:
    """Catches: a product that repair and factorization do not find, or that `protect` cannot name."""
    model = graph(
        'a = Einsum<equation="btd,dhe->bhte">(x, w) y = Relu(a)',
        {"w": (6, 2, 5)},
        "float[N, 4, 6]",
        "float[N, 2, 4, 5]",
    )
    assert [layer.name for layer in weighted_layers(apply(clean_up(), model).model)[0]] == ["a"]
