"""What options save, counted by hand."""

import pytest

from foldpress.cost import graph_cost
from foldpress.errors import RequestError
from foldpress.optimizer.factorize.costs import AS_IT_IS, CountCosts, LayerTimes, TimeCosts, saves
from foldpress.optimizer.factorize.forms import Option, factorizable
from foldpress.optimizer.factorize.low_rank import LowRank
from foldpress.optimizer.factorize.separable import Separable
from topologies import graph

BODY = """a = Conv<pads=[1,1,1,1], strides=[2,2]>(x, w)  r = Relu(a)  b = Conv(r, v)  f = Flatten(b)  y = Gemm(f, u)"""
WEIGHTS = {"w": (16, 8, 3, 3), "v": (16, 16, 3, 3), "u": (64, 40)}
NETWORK = graph(BODY, {**WEIGHTS}, "float[N, 8, 8, 8]", "float[N, 40]")
LAYERS = {name: layer for name, (layer, _) in factorizable(NETWORK)[0].items()}
TOTAL = 16 * 8 * 9 * 16 + 16 * 16 * 9 * 4 + 64 * 40


@pytest.mark.parametrize(
    ("name", "option", "left"),
    [
        ("a", Option(LowRank(), (4,)), 4 * 8 * 9 * 16 + 16 * 4 * 16),
        (
            "a",
            Option(Separable(), (8,)),
            8 * 8 * 3 * 32 + 16 * 8 * 3 * 16,
        ),  # the first of the two strides along one axis only
        ("y", Option(LowRank(), (8,)), 8 * (64 + 40)),
    ],
)
def test_macs_are_those_of_the_chain(name: str, option: Option, left: int) -> None:
    """Catches: a stride forgotten, which makes the first of two layers twice as costly as its parameters say."""
    costs = CountCosts(NETWORK, "macs")
    full = {"a": 16 * 8 * 9 * 16, "y": 64 * 40}[name]
    assert costs.total == TOTAL == graph_cost(NETWORK).macs
    assert costs.share(LAYERS[name], option) == pytest.approx(left / full)
    assert costs.saved(LAYERS[name], option) == pytest.approx(full - left)


def test_bytes_are_those_of_the_matrices() -> None:
    """Catches: biases and shapes counted, or the activations of one batch."""
    costs = CountCosts(NETWORK, "bytes")
    assert costs.total == 4 * (16 * 8 * 9 + 16 * 16 * 9 + 64 * 40)
    assert costs.saved(LAYERS["y"], Option(LowRank(), (8,))) == 4 * (64 * 40 - 8 * 104)


def test_fewer_macs_in_a_larger_file_are_not_taken() -> None:
    """Catches: a layer that is the slower for being read, sold as the smaller."""
    wide = Option(LowRank(), (40,))  # more than break-even in both
    assert CountCosts(NETWORK, "macs").share(LAYERS["y"], wide) == 1


def test_times_are_looked_up() -> None:
    """Catches: a form that was not timed taken for a fast one."""
    fast, slow = Option(LowRank(), (8,)), Option(LowRank(), (16,))
    costs = TimeCosts(LayerTimes(10.0, {"y": {AS_IT_IS: 2.0, str(fast): 1.5}}))
    assert costs.share(LAYERS["y"], fast) == 0.75
    assert costs.saved(LAYERS["y"], fast) == 0.5
    assert costs.saved(LAYERS["y"], slow) == costs.saved(LAYERS["a"], fast) == 0
    assert not saves(costs.share(LAYERS["y"], slow))
    assert str(fast) == "low-rank 8"


def test_unknown_shapes_are_an_error() -> None:
    """Catches: a budget kept of the layers that happen to be known."""
    model = graph("y = MatMul(x, w)", {"w": (6, 5)}, "float[N, T, 6]", "float[N, T, 5]")
    with pytest.raises(RequestError, match="the macs of y are not known"):
        CountCosts(model, "macs")
