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
    corrected_mean_upper,
    mean_upper,
    quantile_samples,
    quantile_upper,
    tango_upper,
)

Z = float(stats.norm.ppf(0.95))
# Tango's two-sided limits as published, each of them two one-sided bounds: lost, gained, n, two-sided confidence, limits.
PUBLISHED = [
    (9, 3, 32, 0.95, -0.027, 0.390),  # Tango, Statistics in Medicine 17, 1998
    (0, 1, 44, 0.90, -0.096, 0.037),  # Tang, Tang and Chan, Statistics in Medicine 22, 2003
    (16, 8, 86, 0.95, -0.020, 0.207),  # Agresti and Min, Statistics in Medicine 24, 2005
    (1, 7, 21, 0.95, -0.517, -0.026),  # Fagerland, Lydersen and Laake, Statistics in Medicine 33, 2014
    (3, 1, 14, 0.95, -0.1670, 0.4327),  # Tang, Ling, Ling and Tian, Statistics in Medicine 29, 2010
    (25, 2, 102, 0.95, 0.139, 0.321),  # Chang et al., 2024
]  # all as quoted in the tests of ratesci 0.5 (P. Laud)
# The limits that R 4.6.1 with PropCIs 0.3.0, scoreci.mp, gives at 90 % two-sided, whose bisection ends at 1e-7.
PROPCIS = [
    (7, 0, 14, 0.2570677, 0.7012181), (0, 0, 14, -0.1619549, 0.1619548), (3, 2, 14, -0.2050939, 0.3384871),
    (1, 0, 14, -0.1020945, 0.2655757), (5, 5, 16, -0.3134394, 0.3134394), (13, 1, 14, 0.4688484, 0.9678002),
    (14, 0, 14, 0.6760902, 1.0), (0, 14, 14, -1.0, -0.6760903), (2, 9, 20, -0.5665505, -0.0840529),
    (10, 3, 50, 0.0233805, 0.2607449), (4, 1, 28, -0.0300108, 0.2561974), (25, 12, 200, 0.0154765, 0.1164465),
]  # fmt: skip
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


@pytest.mark.parametrize(("b", "c", "n", "confidence", "low", "high"), PUBLISHED)
def test_tango_as_published(b: int, c: int, n: int, confidence: float, low: float, high: float) -> None:
    """Catches an equation that was copied wrongly, both here and in its own test. The lower limit is the other way round."""
    one_sided, digits = (1 + confidence) / 2, len(str(low).partition(".")[2])
    assert tango_upper(b, c, n, one_sided) == pytest.approx(high, abs=0.5 * 10**-digits)
    assert -tango_upper(c, b, n, one_sided) == pytest.approx(low, abs=0.5 * 10**-digits)


@pytest.mark.parametrize(("b", "c", "n", "low", "high"), PROPCIS)
def test_tango_as_propcis_has_it(b: int, c: int, n: int, low: float, high: float) -> None:
    """Catches a slip at the corners, where papers give no examples: nothing flipped, everything did."""
    assert tango_upper(b, c, n) == pytest.approx(high, abs=3e-7)
    assert -tango_upper(c, b, n) == pytest.approx(low, abs=3e-7)


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


def test_corrected_mean_upper_by_its_formula() -> None:
    """Catches a correction that is left out, added to the error instead of the variance, or of other degrees of freedom."""
    drops, ratio = np.array([0.01, 0.03, 0.0, 0.02, 0.01]), 0.25
    centre = sum(drops) / 5
    squared = sum((drop - centre) ** 2 for drop in drops) / 4
    bound = centre + 2.131847 * math.sqrt((1 / 5 + ratio) * squared)  # the 95 % quantile of Student's t with 4 degrees
    assert corrected_mean_upper(drops, ratio) == pytest.approx(bound)
    assert corrected_mean_upper(drops, 0.0) == pytest.approx(mean_upper(drops))
    assert corrected_mean_upper(drops[:1], ratio) == math.inf


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
