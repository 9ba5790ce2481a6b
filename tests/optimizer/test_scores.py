"""The orders in which channels go, against the obvious: weights and activations read off one by one."""

import numpy as np
import onnx_ir as ir
import pytest

from foldpress.data import Dataset
from foldpress.graph import copy_graph, initializer
from foldpress.optimizer.gates import with_gates
from foldpress.optimizer.gram import collect_grams, has_gram
from foldpress.optimizer.groups import ChannelGroup, find_groups
from foldpress.optimizer.repair import Consumer, consumer
from foldpress.optimizer.scores import Score, channel_costs, order_of, possible_score
from topologies import IMAGE, MAP, TOPOLOGIES, build, graph, outputs, samples


def stored(model: ir.Model, name: str) -> np.ndarray:
    return np.array(initializer(model, model.graph.initializers[name]))


def consumers_of(model: ir.Model, group: ChannelGroup, data: Dataset) -> list[Consumer]:
    slots = [slot for slot in group.consumers if has_gram(slot)]
    grams = collect_grams(model, slots, data, np.zeros((1, len(data)), np.intp)).all()
    return [consumer(model, slot, grams[str(slot.node.name)]) for slot in slots]


@pytest.mark.parametrize(("score", "norm"), [("magnitude", np.square), ("l1", np.abs)])
def test_magnitude_is_that_of_all_layers_that_make_a_channel(score: Score, norm: np.ufunc) -> None:
    """Catches: biases counted; the second layer of a residual stream forgotten; norms along the wrong axis."""
    model = build(TOPOLOGIES["residual sum"])
    group = find_groups(model)[0][0]
    expected = sum(norm(stored(model, name)).sum((1, 2, 3)) for name in ("w", "u"))
    np.testing.assert_allclose(channel_costs(model, group, [], score), expected, rtol=1e-5)


def test_activation_is_weight_energy_times_input_energy() -> None:
    """Catches: a mean in place of a mean square; one of two consumers left out."""
    body = "a = Conv(x, w)  r = Relu(a)  c = Conv(r, v)  d = Conv(r, u)  y = Add(c, d)"
    model = graph(body, {"w": (8, 3, 1, 1), "v": (5, 8, 1, 1), "u": (5, 8, 1, 1)}, IMAGE, MAP)
    feed = samples(model, 7)
    inner = copy_graph(model)
    inner.graph.outputs[:] = [next(node for node in inner.graph if node.name == "r").outputs[0]]
    energy = np.square(outputs(inner, feed)[0]).mean((0, 2, 3))
    group = find_groups(model)[0][0]
    expected = energy * sum(np.square(stored(model, name)).sum((0, 2, 3)) for name in ("v", "u"))
    found = channel_costs(model, group, consumers_of(model, group, Dataset(feed)), "activation")
    np.testing.assert_allclose(found, expected, rtol=1e-2)  # the ridge adds a ten-thousandth of the mean to each


def test_a_hidden_unit_counts_for_the_recurrence_too() -> None:
    """Catches: a unit that nothing but its own layer reads taken for useless."""
    model = build(TOPOLOGIES["LSTM"])
    group = find_groups(model)[0][0]
    assert possible_score(group, "obs") == "obs"
    shown = with_gates(model)
    consumers = consumers_of(shown, find_groups(shown)[0][0], Dataset(samples(model, 20)))
    costs = channel_costs(model, group, consumers, "activation")
    energy = np.mean([np.diag(one.hessian)[start : start + 8] for one, start in zip(consumers, (6, 0), strict=True)], 0)
    weights = np.square(stored(model, "r")).sum((0, 1)) + np.square(stored(model, "w2")).sum((0, 1))
    np.testing.assert_allclose(costs, energy * weights, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "asked", "taken"),
    [
        ("residual sum", "obs", "obs"),
        ("residual sum", "l1", "l1"),
        ("one head", "obs", "magnitude"),
        ("one head", "l1", "l1"),
    ],
)
def test_what_a_score_needs_must_be_there(name: str, asked: Score, taken: Score) -> None:
    """Catches: an order that cannot be had; magnitudes where the data say more."""
    assert possible_score(find_groups(build(TOPOLOGIES[name]))[0][0], asked) == taken


def test_the_cheapest_go_first_and_shares_add_up() -> None:
    """Catches: the best channels removed; a chunk too many or too few at the end."""
    costs = np.array([4.0, 1, 3, 0, 2])
    whole = [(channels.tolist(), round(error, 9)) for channels, error in order_of(costs, 2, 0)]
    assert whole == [([3, 1], 0.1), ([4, 2], 0.6), ([0], 1.0)]
    assert [channels.tolist() for channels, _ in order_of(costs, 2, 2)] == [[3, 1]]
    assert [channels.tolist() for channels, _ in order_of(costs, 2, 1)] == [[3, 1], [4, 2]]
