"""Two layers fitted together: the gradient against torch's, and a network of fewer channels that is there to be found."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import conv2d

from foldpress.data import Dataset
from foldpress.graph import copy_graph
from foldpress.optimizer import joint
from foldpress.optimizer.frontier import Frontier
from foldpress.optimizer.joint import descend, fit_together
from foldpress.optimizer.pair_samples import Given
from foldpress.optimizer.pairs import Pair, Weights
from foldpress.optimizer.places import Place
from foldpress.runtime import open_session, predict
from layer_pairs import CHANNELS, CONVOLUTIONS, MAPS, MATRICES, ROWS, TAPS, network, pair_at

RNG = np.random.default_rng(1)


def images(pair: Pair, count: int, rectified: bool = False) -> Given:
    """A pair of convolutions with random images before it, and a random value behind."""
    x = RNG.normal(size=(count, 3, 8, 8)).astype(np.float32)
    first = torch.nn.functional.unfold(torch.from_numpy(x), 3, padding=1).transpose(1, 2).reshape(-1, 27).numpy()
    inputs = np.hstack([first, np.ones((len(first), 1), np.float32)])
    rest, wanted = (RNG.normal(size=(count * 9, 3)).astype(np.float32) for _ in range(2))
    second = Place(pair.second.layer, pair.second.kept, pair.second.value, rectified)
    return Given(replace(pair, second=second), inputs, rest, wanted, (count, 8, 8))


def convolutions() -> tuple[Pair, Weights]:
    model = network(CONVOLUTIONS, MAPS)
    pair = pair_at(model, "z", TAPS)
    assert pair is not None
    return pair, pair.weights(model)


@pytest.mark.parametrize("rectified", [False, True])
def test_the_gradient_is_that_of_torch(rectified: bool) -> None:
    """Catches: a sign, a factor, the rectifier or the border of a map forgotten on the way back."""
    pair, weights = convolutions()
    given = images(pair, 6, rectified)
    loss, slope = given.slope(weights)
    leaves = [torch.tensor(weight, requires_grad=True) for weight in weights]
    first, second = (leaf[:-1].T for leaf in leaves)
    between = (torch.from_numpy(given.inputs).double() @ leaves[0]).relu().reshape(6, 8, 8, 4).permute(0, 3, 1, 2)
    added = conv2d(between, second.reshape(3, 4, 3, 3), leaves[1][-1], stride=2).permute(0, 2, 3, 1).reshape(-1, 3)
    value, wanted = added + torch.from_numpy(given.rest), torch.from_numpy(given.wanted)
    lack = torch.where(wanted > 0, wanted - value, -value.relu()) if rectified else wanted - value
    expected = lack.square().sum() / len(lack)
    gradients = torch.autograd.grad(expected, leaves)
    assert first.shape == (4, 27)
    assert loss == pytest.approx(expected.item(), rel=1e-5)
    for mine, theirs in zip(slope, (gradient.numpy() for gradient in gradients), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-3, atol=1e-4 * float(np.abs(theirs).max()))


def planted(pair: Pair, weights: Weights, given: Given) -> Given:
    """Where these weights leave no gap."""
    _, seen, _ = given.run(weights)
    return replace(given, wanted=given.rest + seen @ weights[1].astype(np.float32))


def test_both_layers_together_find_what_the_second_alone_cannot(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches: a descent that stops early, or leaves one of the layers as it is."""
    monkeypatch.setattr(joint, "_STEPS", 60)
    pair, weights = convolutions()
    fitted, judge = (planted(pair, weights, images(pair, count)) for count in (24, 8))
    start = weights[0] + RNG.normal(scale=0.3, size=weights[0].shape), weights[1]
    _, seen, _ = fitted.run(start)
    best = np.linalg.lstsq(seen, fitted.wanted - fitted.rest, rcond=None)[0]
    alone, found = judge.loss((start[0], best)), descend(fitted, judge, (start[0], best))
    assert judge.loss(found) < 0.05 * alone


def test_what_other_samples_do_not_bear_out_is_not_done() -> None:
    """Catches: fitting noise; samples held out that are not looked at."""
    pair, weights = convolutions()
    fitted, judge = images(pair, 4), planted(pair, weights, images(pair, 8))
    assert descend(fitted, judge, weights) is weights
    assert fitted.loss(weights) > 0


@pytest.mark.parametrize("scale", [1e-4, 1e4])
def test_scale_does_not_matter(scale: float) -> None:
    """Catches: steps that end by an absolute tolerance; channels that are unequal because one is scaled."""
    pair, weights = convolutions()
    start = weights[0] + RNG.normal(scale=0.3, size=weights[0].shape), weights[1]
    fitted, judge = (planted(pair, weights, images(pair, count)) for count in (24, 8))
    plain = judge.loss(descend(fitted, judge, start)) / judge.loss(start)
    factors = np.array([scale, 1, 1, 1])
    second = np.vstack([start[1][:-1] / np.repeat(factors, 9)[:, None], start[1][-1:]])
    moved = descend(fitted, judge, (start[0] * factors, second))
    assert judge.loss(moved) / judge.loss(start) == pytest.approx(plain, rel=0.1)
    small = [replace(one, rest=one.rest * scale, wanted=one.wanted * scale) for one in (fitted, judge)]
    moved = descend(small[0], small[1], (start[0], start[1] * scale))
    assert small[1].loss(moved) / small[1].loss((start[0], start[1] * scale)) == pytest.approx(plain, rel=0.1)


@pytest.mark.parametrize(
    ("nodes", "given", "name", "kept", "shape"),
    [(CONVOLUTIONS, MAPS, "z", TAPS, (3, 8, 8)), (MATRICES, ROWS, "p", CHANNELS, (5, 4))],
)
def test_a_graph_comes_closer_to_the_original(
    nodes: str, given: str, name: str, kept: list[int], shape: tuple[int, ...]
) -> None:
    """Catches: targets of the pruned network; weights of what is gone that come back; places lost between layers."""
    original = network(nodes, given)
    pruned = copy_graph(original)
    pair = pair_at(pruned, name, kept)
    assert pair is not None
    whole = pair.second.layer.matrices(pruned)
    whole[..., np.setdiff1d(np.arange(whole.shape[-1]), kept)] = 0
    pair.second.layer.store(pruned, whole)
    data, unseen = (Dataset({"x": RNG.normal(size=(64, *shape)).astype(np.float32)}) for _ in range(2))

    def error() -> float:
        found, wanted = (predict(open_session(graph), unseen, 8)[0] for graph in (pruned, original))
        return float(np.square(found - wanted).mean())

    before = error()
    fit_together(pair, Frontier(original, pruned, data))
    assert error() < 0.5 * before
    gone = np.setdiff1d(np.arange(whole.shape[-1]), kept)
    assert not pair.second.layer.matrices(pruned)[..., gone].any()
    first = pair.first.matrices(original)[0]
    unread = np.setdiff1d(np.arange(len(first)), pair.channels)
    np.testing.assert_array_equal(pair.first.matrices(pruned)[0][unread], first[unread])


@pytest.mark.parametrize("limit", ["_BYTES", "_WEIGHTS"])
def test_what_is_too_large_is_left_alone(limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches: a budget of memory that is not kept."""
    original = network(CONVOLUTIONS, MAPS)
    pruned = copy_graph(original)
    pair = pair_at(pruned, "z", TAPS[:9])
    assert pair is not None
    before = pair.weights(pruned)
    # 64 places of 28 numbers of 4 bytes; 28 weights of the first layer, 30 of the second.
    monkeypatch.setattr(joint, limit, {"_BYTES": 2 * 7168 - 1, "_WEIGHTS": 57}[limit])
    data = Dataset({"x": RNG.normal(size=(8, 3, 8, 8)).astype(np.float32)})
    fit_together(pair, Frontier(original, pruned, data))
    for one, other in zip(before, pair.weights(pruned), strict=True):
        np.testing.assert_array_equal(one, other)
