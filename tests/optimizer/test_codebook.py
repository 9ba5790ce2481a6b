from itertools import product
from typing import get_args

import numpy as np
import pytest
from numpy.typing import NDArray

from foldpress.optimizer.codebook import Method, Per, shared
from foldpress.optimizer.gptq import damped, squared_error
from foldpress.optimizer.kmeans import optimal_centers

Floats = NDArray[np.float64]
COUNT = {"kmeans": 4, "binary": 2, "ternary": 3}


def problem(rows: int, inputs: int, groups: int = 1) -> tuple[Floats, Floats]:
    """A weight, [G, M, D], a third of it pruned, and E[x xᵀ] of correlated inputs, [G, D, D]."""
    random = np.random.default_rng(rows)
    x = random.normal(size=(groups, 400, inputs)) @ random.normal(size=(groups, inputs, inputs))
    weight = random.normal(size=(groups, rows, inputs))
    return np.where(random.random(weight.shape) < 1 / 3, 0, weight), x.swapaxes(1, 2) @ x / 400


def plain(inputs: int) -> Floats:
    return np.eye(inputs)[None]


@pytest.mark.parametrize("method", get_args(Method))
@pytest.mark.parametrize("per", get_args(Per))
def test_values_are_few_and_zeros_stay(method: Method, per: Per) -> None:
    """Catches more values than asked for, pruned weights that come back, and rows that take another row's values."""
    weight, hessian = problem(6, 20, groups=2)
    found = shared(weight, hessian, method, COUNT[method], per)
    parts = [found] if per == "tensor" else [*found.reshape(-1, 20)]
    assert all(len(np.unique(part[part != 0])) <= COUNT[method] for part in parts)
    assert not found[weight == 0].any()
    assert method == "ternary" or found[weight != 0].all()
    if method != "kmeans":  # one magnitude
        assert all(len(np.unique(np.abs(part[part != 0]).round(12))) == 1 for part in parts)


def test_binary_weights_are_the_sign_times_the_mean() -> None:
    """Catches another scale than XNOR-Net's, where all inputs count the same."""
    weight = np.random.default_rng(0).normal(size=(1, 5, 30))
    expected = np.sign(weight) * np.abs(weight).mean(-1, keepdims=True)
    np.testing.assert_allclose(shared(weight, plain(30), "binary", 2, "channel"), expected)


def test_ternary_weights_are_the_best_of_all() -> None:
    """Catches a threshold that is not optimal, tried against all 3^8 ternary weights."""
    weight = np.random.default_rng(1).normal(size=(1, 1, 8))
    signs = np.array([s for s in product((-1, 0, 1), repeat=8) if any(s)], float)
    scales = signs @ weight[0, 0] / (signs**2).sum(1)
    least = np.square(scales[:, None] * signs - weight[0, 0]).sum(1).min()
    found = shared(weight, plain(8), "ternary", 3, "tensor")
    assert np.square(found - weight).sum() == pytest.approx(least)


def test_values_are_refitted_by_the_whole_gram_matrix() -> None:
    """Catches values that could be better for the places that were chosen: the gradient in each of them is zero."""
    weight, hessian = problem(5, 12)
    found = shared(weight, hessian, "kmeans", 3, "tensor")
    slope = (found - weight) @ damped(hessian)
    for value in np.unique(found[found != 0]):
        assert slope[found == value].sum() == pytest.approx(0, abs=1e-6 * np.abs(slope).sum())


@pytest.mark.parametrize("per", get_args(Per))
def test_outputs_are_closer_than_with_nearest_values(per: Per) -> None:
    """Catches a correction of the wrong sign: k-means by the weights alone must lose."""
    weight, hessian = problem(30, 40)
    found = shared(weight, hessian, "kmeans", 4, per)
    rows = weight.reshape((1, -1) if per == "tensor" else (30, 40))
    centers = optimal_centers(rows, (rows != 0).astype(float), 4)
    nearest = np.take_along_axis(centers, np.abs(rows[:, :, None] - centers[:, None]).argmin(2), 1) * (rows != 0)
    assert squared_error(found - weight, hessian) < 0.9 * squared_error(nearest.reshape(weight.shape) - weight, hessian)


def test_inputs_that_were_never_seen_are_no_obstacle() -> None:
    """Catches a singular matrix: images have borders that are always black."""
    weight, hessian = problem(4, 10)
    hessian[:, 3:] = hessian[:, :, 3:] = 0
    found = shared(weight, hessian, "kmeans", 5, "channel")
    assert np.isfinite(found).all()
    assert np.isfinite(shared(weight, np.zeros_like(hessian), "binary", 2, "tensor")).all()
