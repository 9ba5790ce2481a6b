"""Divergence of outputs against scipy, and what is said where there is none."""

import math

import numpy as np
import pytest
from scipy import special, stats

from foldpress.benchmark.divergence import differences, divergences, warning


def drawn(seed: int = 0) -> list[np.ndarray]:
    generator = np.random.default_rng(seed)
    return [generator.normal(size=(6, 4)).astype(np.float32) * 3]


@pytest.mark.parametrize("softmax", [False, True])
def test_kl_is_scipys_for_scores_and_for_probabilities(softmax: bool) -> None:
    """Catches the two distributions swapped, and a softmax of what is a softmax already."""
    one, other = (special.softmax(drawn(seed)[0].astype(float), axis=1) for seed in (0, 1))
    expected = [stats.entropy(p, q) for p, q in zip(one, other, strict=True)]
    given = [[one.astype(np.float32)], [other.astype(np.float32)]] if softmax else [drawn(0), drawn(1)]
    np.testing.assert_allclose(divergences(*given), expected, rtol=1e-5)
    assert np.all(divergences(drawn(0), drawn(0)) == 0)


def test_the_largest_difference_over_all_outputs() -> None:
    """Catches a second output that nobody looks at, and a difference that is averaged away."""
    one = [np.zeros((3, 2), np.float32), np.zeros((3, 2, 2), np.float32)]
    other = [one[0].copy(), one[1].copy()]
    other[0][0, 1], other[1][2, 1, 0] = 0.5, -2.0
    assert differences(one, other).tolist() == [0.5, 0.0, 2.0]


def test_what_is_no_distribution_has_no_divergence() -> None:
    """Catches a divergence made up for labels, for regressions, and from NaN."""
    for outputs in ([np.array([1, 2, 3])], [np.zeros((3, 1), np.float32)], [np.zeros(3, np.float32)]):
        assert np.isnan(divergences(outputs, outputs)).all()
        block = warning(divergences(outputs, outputs), differences(outputs, outputs))
        assert block["kl_mean"] is None
        assert "no class scores" in block["kl_mean_why"]
        assert block["largest_difference_max"] == 0.0
    broken = [np.full((3, 2), np.nan, np.float32)]
    assert warning(divergences(broken, broken), differences(broken, broken))["largest_difference_max"] is None


def test_a_probability_of_zero_is_finite_and_large() -> None:
    """Catches an infinite mean because one class was ruled out by rounding."""
    one, other = np.array([[0.5, 0.5]], np.float32), np.array([[1.0, 0.0]], np.float32)
    (found,) = divergences([one], [other])
    assert math.isfinite(found)
    assert found > 10
