"""Which channels may go, and which go together, on ONNX text."""

import pytest

from foldpress.optimizer.groups import find_groups
from topologies import TOPOLOGIES, Topology, Weights, build, graph


@pytest.mark.parametrize("topology", TOPOLOGIES.values(), ids=TOPOLOGIES)
def test_channels_that_go_together_are_one_group(topology: Topology) -> None:
    """Catches: channels cut apart that are summed or multiplied; groups lost at an operator; a group that is split in two."""
    groups, declined = find_groups(build(topology))
    assert {group.name: group.channels for group in groups} == topology.groups
    assert all(reason for _, reason in declined)


def test_every_layer_is_named_once() -> None:
    """Catches: a layer that no log line could mention; the second layer of a stream called a failure."""
    groups, declined = find_groups(build(TOPOLOGIES["residual sum"]))
    assert [[node.name for node in group.producers] for group in groups] == [["a", "o"], ["i"]]
    assert [name for name, _ in declined] == ["y"]


def test_the_width_of_a_channel_is_that_of_a_head() -> None:
    """Catches: a multiple of four heads where four channels were meant."""
    widths = {"heads": 3, "LSTM": 1, "residual sum": 1, "group normalization by instances": 2}
    assert {name: find_groups(build(TOPOLOGIES[name]))[0][0].width for name in widths} == widths


@pytest.mark.parametrize(
    ("body", "weights", "layer", "reason"),
    [
        ("a = Conv(x, w)  y = Relu(a)", {"w": (5, 3, 3, 3)}, "a", "those of y, an output of the graph"),
        ("a = Conv<pads=[1,1,1,1]>(x, w)  s = Add(a, x)  y = Conv(s, v)", {"w": (3, 3, 3, 3), "v": (5, 3, 1, 1)}, "a", "Add s joins them with what is none"),
        ("a = Conv(x, w)  n = Softmax<axis=1>(a)  y = Conv(n, v)", {"w": (8, 3, 3, 3), "v": (5, 8, 1, 1)}, "a", "Softmax n needs all of them"),
        ("a = Conv(x, w)  n = LRN<size=3>(a)  y = Conv(n, v)", {"w": (8, 3, 3, 3), "v": (5, 8, 1, 1)}, "a", "LRN n needs all of them"),
        ("a = Conv(x, w)  p = ReduceMean<keepdims=1>(a, axes)  y = Conv(p, v)", {"w": (8, 3, 3, 3), "axes": (1,), "v": (5, 1, 1, 1)}, "a", "ReduceMean p reduces them"),
        ("a = Conv(x, w)  n = Shape(a)  c = Cast<to=1>(n)  s = ReduceMax(c)  m = Div(a, s)  y = Conv(m, v)", {"w": (8, 3, 3, 3), "v": (5, 8, 1, 1)}, "a", "ReduceMax s needs to know how many there are"),
        ("a = Conv(x, w)  h = Slice(a, index0, index8, axes, index2)  y = Conv(h, v)", {"w": (8, 3, 1, 1), "index0": (0,), "index8": (8,), "axes": (1,), "index2": (2,), "v": (5, 4, 1, 1)}, "a", "at intervals"),
        ('a = Conv(x, w)  p = Pad<mode="reflect">(a, index)  y = Conv(p, v)', {"w": (8, 3, 1, 1), "index": (0, 1, 0, 0, 0, 1, 0, 0), "v": (5, 10, 1, 1)}, "a", "repeats or crops"),
        ("a = Conv(x, w)  k = Conv(x, v)  y = Conv(x, w)", {"w": (5, 3, 3, 3), "v": (8, 3, 1, 1)}, "k", "no layer consumes"),
    ],
)  # fmt: skip
def test_what_cannot_be_followed_is_left_alone_and_says_why(
    body: str, weights: Weights, layer: str, reason: str
) -> None:
    """Catches: cutting channels that something else depends on; a bare refusal."""
    groups, declined = find_groups(graph(body, weights))
    assert layer not in {group.name for group in groups}
    assert reason in dict(declined)[layer]


def test_a_graph_within_the_graph_needs_what_it_reads() -> None:
    """Catches: a tensor cut that the branch of an If reads."""
    body = """a = Conv(x, w)  s = ReduceSum<keepdims=0>(x)  c = Cast<to=9>(s)  r = Relu(a)
        i = If(c)<then_branch = t () => (float[N, 8, 6, 6] p) { p = Neg(r) },
                  else_branch = e () => (float[N, 8, 6, 6] q) { q = Abs(r) }>
        y = Conv(i, v)"""
    model = graph(body, {"w": (8, 3, 1, 1), "v": (5, 8, 1, 1)})
    groups, declined = find_groups(model)
    assert not groups
    assert "If i needs all of them" in dict(declined)["a"]
