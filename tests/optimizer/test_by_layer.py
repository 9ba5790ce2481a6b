"""What is asked of layers by name, type and place."""

import onnx_ir as ir
import pytest

from foldpress.errors import RequestError
from foldpress.optimizer.by_layer import by_layer
from topologies import graph

LAYERS = [ir.node(kind, [], name=name) for name, kind in (("stem", "Conv"), ("body", "Conv"), ("head", "Gemm"))]
OTHERS = [ir.node("Relu", [], name="act")]


@pytest.mark.parametrize(("asked", "found"), [
    ({"Conv": 1}, {"stem": 1, "body": 1}),
    ({"first": 1, "last": 2}, {"stem": 1, "head": 2}),
    ({"stem": 3, "first": 2, "Conv": 1}, {"stem": 3, "body": 1}),  # whatever order they are written in
    ({"Conv": 1, "first": 2}, {"stem": 2, "body": 1}),
    ({"Relu": 1, "act": 2}, {"act": 2}),
    ({}, {}),
])  # fmt: skip
def test_names_go_before_places_and_places_before_types(asked: dict[str, int], found: dict[str, int]) -> None:
    """Catches: what is said of one layer lost in what is said of all."""
    assert by_layer("layers", asked, LAYERS, OTHERS) == found


def test_a_weight_names_its_layer() -> None:
    """Catches: a name that PyTorch and the log of pruning give, and that is not understood."""
    model = graph(
        "a = MatMul(x, weight_of_a) y = MatMul(a, v)",
        {"weight_of_a": (6, 8), "v": (8, 5)},
        "float[N, 6]",
        "float[N, 5]",
    )
    layers = list(model.graph)
    assert by_layer("layers", {"weight_of_a": 1, "MatMul": 2}, layers) == {"a": 1, "y": 2}


@pytest.mark.parametrize(("name", "words"), [
    ("bdoy", r"layers names 'bdoy'[\s\S]*body"), ("Softmax", "Conv, Gemm, Relu"), ("Cnov", "Conv"),
])  # fmt: skip
def test_a_layer_that_there_is_not_is_refused(name: str, words: str) -> None:
    """Catches: a typing error that is passed over, and a message that does not help."""
    with pytest.raises(RequestError, match=words):
        by_layer("layers", {name: 1}, LAYERS, OTHERS)


def test_without_layers_there_is_no_first_one() -> None:
    """Catches: an IndexError, or nothing done in silence."""
    with pytest.raises(RequestError, match="first"):
        by_layer("layers", {"first": 1}, [], OTHERS)
