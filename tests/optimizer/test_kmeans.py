from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray

from foldpress.optimizer import kmeans
from foldpress.optimizer.kmeans import optimal_centers

Floats = NDArray[np.float64]


def error_of(values: Floats, weights: Floats, centers: Floats) -> float:
    return float((weights * np.square(values[:, None] - centers).min(1)).sum())


def least_of_all(values: Floats, weights: Floats, count: int) -> float:
    """Every way to cut the sorted values into runs, one after the other."""
    order = np.argsort(values)
    x, w = values[order], weights[order]
    found = []
    for cuts in combinations(range(1, len(x)), count - 1):
        runs = [slice(*run) for run in zip((0, *cuts), (*cuts, len(x)), strict=True)]
        centers = np.array([np.average(x[run], weights=w[run]) for run in runs])
        found.append(error_of(x, w, centers))
    return min(found)


@pytest.mark.parametrize(("size", "count"), [(1, 1), (5, 2), (9, 3), (12, 4), (13, 7), (6, 6)])
def test_no_other_centers_are_better(size: int, count: int) -> None:
    """Catches Lloyd's local optima, a cut that is off by one, and rows that are mixed up."""
    random = np.random.default_rng(size)
    values, weights = random.normal(40, 1, (5, size)), random.uniform(0.1, 9, (5, size))
    centers = optimal_centers(values, weights, count)
    for row in range(5):
        expected = least_of_all(values[row], weights[row], count)
        assert error_of(values[row], weights[row], centers[row]) == pytest.approx(expected, rel=1e-9, abs=1e-12)
        assert (np.diff(centers[row]) >= 0).all()


def test_bins_lose_next_to_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches bins that are too wide where most values lie, or where the few large ones lie."""
    values = np.random.default_rng(0).standard_t(3, (1, 6000))
    weights = np.ones_like(values)
    binned = optimal_centers(values, weights, 16)
    monkeypatch.setattr(kmeans, "BINS", values.size)
    exact = optimal_centers(values, weights, 16)
    assert error_of(values[0], weights[0], binned[0]) < 1.001 * error_of(values[0], weights[0], exact[0])


def test_values_without_weight_count_for_nothing() -> None:
    """Catches pruned weights that draw a centre to them, and a row that has no value left."""
    values = np.array([[1.0, 0.0, 3.0, 0.0], [0.0, 0.0, 0.0, 0.0], [5.0, 0.0, 0.0, 0.0]])
    centers = optimal_centers(values, (values != 0).astype(float), 2)
    np.testing.assert_allclose(centers, [[1, 3], [0, 0], [5, 5]], atol=1e-12)


def test_many_values_take_a_moment() -> None:
    """Catches a search over all pairs: it would take hours."""
    values = np.random.default_rng(0).normal(size=(1, 300_000))
    centers = optimal_centers(values, np.ones_like(values), 16)
    # The distortion of the best 16 levels of a Gaussian (Max 1960, IRE Transactions on Information Theory, table I).
    mean = error_of(values[0], np.ones(values.size), centers[0]) / values.size
    assert mean == pytest.approx(0.009497, rel=0.01)
