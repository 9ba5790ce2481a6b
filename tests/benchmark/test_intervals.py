"""Bounds and intervals, each against a slow and obvious reference, and against how often they are wrong."""

import math
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from foldpress.benchmark.intervals import (
    clopper_pearson_upper,
    mean_upper,
    quantile_samples,
    quantile_upper,
    tango_upper,
)

Z = float(stats.norm.ppf(0.95))
SMALL = [(b, c, n) for n in (1, 2, 10, 40) for b, c in product(range(n + 1), repeat=2) if b + c <= n]
LARGE = [(0, 0, 300), (3, 0, 300), (3, 1, 300), (0, 4, 300), (40, 39, 5000), (7, 2, 10_000)]


def statistic(b: int, c: int, n: int, d: NDArray[Any]) -> NDArray[Any]:
    """Tango's left-hand side, as printed, at many D at once; where its denominator is 0, it is −∞."""
    a_, b_, c_ = 2 * n, -b - c + (2 * n - b + c) * d, -c * d * (1 - d)
    q = (np.sqrt(np.maximum(b_**2 - 4 * a_ * c_, 0)) - b_) / (2 * a_)
    denominator = np.sqrt(np.maximum(n * (2 * q + d * (1 - d)), 0))
    left = np.divide(b - c - n * d, denominator, out=np.full_like(d, -np.inf), where=denominator > 0)
    return np.asarray(left)


def searched(b: int, c: int, n: int, z: float = Z) -> float:
    """The largest D that a test at this level does not reject: a grid, then a finer grid around its last such D."""
    low, high = (b - c) / n, 1.0
    for _ in range(5):
        grid = np.linspace(low, high, 2001)
        accepted = np.flatnonzero(statistic(b, c, n, grid) > -z)
        last = int(accepted[-1]) if len(accepted) else 0
        low, high = float(grid[last]), float(grid[min(last + 1, len(grid) - 1)])
    return high


@pytest.mark.parametrize(("b", "c", "n"), [*SMALL[:: len(SMALL) // 150], *LARGE])
def test_tango_is_the_root_of_the_printed_equation(b: int, c: int, n: int) -> None:
    """Catches lost and gained swapped, a slip in q, and a root finder that stops at the trivial root."""
    assert tango_upper(b, c, n) == pytest.approx(searched(b, c, n), abs=1e-8)


@pytest.mark.parametrize("n", [1, 20, 299, 10_000])
@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.999])
def test_no_flips_at_all(n: int, confidence: float) -> None:
    """Catches a bound that collapses to nothing when nothing was seen to change, as Wald's does."""
    z = float(stats.norm.ppf(confidence))
    assert tango_upper(0, 0, n, confidence) == pytest.approx(z * z / (n + z * z), rel=1e-6)


@pytest.mark.parametrize("n", [1, 7, 500])
def test_all_lost_and_all_gained(n: int) -> None:
    """Catches a division by zero, or a bound outside [−1, 1], at the two corners."""
    assert tango_upper(n, 0, n) == 1.0
    assert -1 < tango_upper(0, n, n) < 1


@given(st.integers(1, 400), st.data())
def test_one_more_loss_never_lowers_the_bound(n: int, data: st.DataObject) -> None:
    """Catches a gate that a worse graph would pass; and a bound below the drop itself."""
    lost = data.draw(st.integers(0, n - 1))
    gained = data.draw(st.integers(0, n - 1 - lost))
    confidence = data.draw(st.sampled_from([0.5, 0.500001, 0.6, 0.9, 0.95, 0.9999]))
    bound, worse = tango_upper(lost, gained, n, confidence), tango_upper(lost + 1, gained, n, confidence)
    assert (lost - gained) / n <= bound <= worse + 1e-9
    assert worse <= 1


@pytest.mark.parametrize(("lost", "gained", "n"), [(0, 0, 0), (-1, 0, 5), (3, 3, 5)])
def test_impossible_tables_are_refused(lost: int, gained: int, n: int) -> None:
    """Catches a bound made up from counts that do not add up."""
    with pytest.raises(ValueError, match="no such table"):
        tango_upper(lost, gained, n)


def first_n(bound: Any, margin: float) -> int:
    return next(n for n in range(1, 2000) if bound(n) <= margin)


def test_samples_that_no_flips_need() -> None:
    """Catches a bound of another level. 299 and 598 are Clopper–Pearson's; Tango's z²/(n + z²) needs a tenth less."""
    assert [first_n(lambda n: clopper_pearson_upper(0, n), margin) for margin in (0.01, 0.005)] == [299, 598]
    assert [first_n(lambda n: tango_upper(0, 0, n), margin) for margin in (0.01, 0.005)] == [268, 539]


@pytest.mark.parametrize(("n", "flips"), [(300, 0.02), (1000, 0.02), (1000, 0.04)])
def test_false_passes_at_the_margin(n: int, flips: float) -> None:
    """Catches a bound that lets a graph through, whose true drop is the margin, much more often than 5 % of the time."""
    margin, repetitions = 0.01, 4000
    shares = [(flips + margin) / 2, (flips - margin) / 2, 1 - flips]
    tables = np.random.default_rng(0).multinomial(n, shares, repetitions)
    kinds, times = np.unique(tables[:, :2], axis=0, return_counts=True)
    passed = [tango_upper(int(b), int(c), n) <= margin for b, c in kinds]
    assert times[passed].sum() / repetitions <= 0.07


@pytest.mark.parametrize(("events", "n"), [(0, 10), (1, 10), (5, 10), (9, 10), (10, 10), (0, 299), (17, 4000)])
@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
def test_clopper_pearson_is_scipys(events: int, n: int, confidence: float) -> None:
    """Catches an off-by-one in the beta quantile; scipy finds the same bound by inverting the exact test."""
    interval = stats.binomtest(events, n, alternative="less").proportion_ci(confidence, method="exact")
    assert clopper_pearson_upper(events, n, confidence) == pytest.approx(interval.high, abs=1e-9)


def test_mean_upper_is_the_t_test_and_says_nothing_of_one() -> None:
    """Catches a normal quantile in place of Student's, and a bound made up from a single difference."""
    values = np.random.default_rng(0).normal(size=6)
    interval = stats.ttest_1samp(values, 0, alternative="less").confidence_interval(0.95)
    assert mean_upper(values) == pytest.approx(interval.high)
    assert mean_upper(values[:1]) == math.inf


def test_quantiles_need_loadgens_samples() -> None:
    """Catches a p99 given from too few runs; the numbers are those of MLPerf's early stopping."""
    assert [quantile_samples(quantile) for quantile in (0.9, 0.99, 0.999)] == [64, 662, 6636]


@pytest.mark.parametrize("quantile", [0.5, 0.9])
def test_quantile_upper_covers(quantile: float) -> None:
    """Catches an order statistic one too low: over many draws the bound must hold at least 95 % of the time."""
    draws = np.random.default_rng(0).exponential(size=(2000, 80))
    truth = float(stats.expon.ppf(quantile))
    bounds = [quantile_upper(draw, quantile) for draw in draws]
    assert np.mean([bound is not None and bound >= truth for bound in bounds]) >= 0.945


def test_quantile_upper_of_few_samples_is_none() -> None:
    """Catches the maximum given as a bound on p90 where 0.9 ** n is still likely."""
    assert quantile_upper(np.arange(28.0), 0.9) is None
    assert quantile_upper(np.arange(29.0), 0.9) == 28.0
    assert quantile_upper(np.array([]), 0.9) is None
