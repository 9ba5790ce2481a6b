"""Ratios of latencies: exact centres, intervals that hold what they say, and paired blocks."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from foldpress.benchmark.ratios import ratio_interval, ratio_of

PROCESSES, REPEATS = 8, 4000


def draws(kind: str) -> NDArray[np.float64]:
    """Log-ratios [repeat, process] whose true mean is 0, as processes of a quiet and of a busy machine give them."""
    generator = np.random.default_rng(0)
    between = generator.normal(0, 0.005, (REPEATS, PROCESSES))
    if kind == "busy":  # now and then a process is disturbed throughout
        between += generator.normal(0, 0.05, between.shape) * (generator.random(between.shape) < 0.1)
    return between


@pytest.mark.parametrize("kind", ["quiet", "busy"])
def test_intervals_hold_the_truth_as_often_as_they_say(kind: str) -> None:
    """Catches an interval that is too narrow for few processes; the percentile bootstrap's misses twice as often."""
    found = [ratio_interval(one) for one in draws(kind)]
    misses = np.mean([one.excludes_one() for one in found])
    tolerance = 3 * math.sqrt(0.05 * 0.95 / REPEATS)
    assert misses <= 0.05 + tolerance
    if kind == "quiet":
        assert misses >= 0.05 - tolerance
        assert _bootstrap_misses(draws(kind)[:, :5]) > 0.1


def _bootstrap_misses(log_ratios: NDArray[np.float64]) -> float:
    """How often the percentile bootstrap over processes misses a true ratio of 1."""
    generator = np.random.default_rng(1)
    chosen = generator.integers(log_ratios.shape[1], size=(500, log_ratios.shape[1]))
    means = log_ratios[:1000, chosen].mean(2)
    low, high = np.quantile(means, [0.025, 0.975], axis=1)
    return float(np.mean((low > 0) | (high < 0)))


def test_a_difference_of_ten_percent_is_found() -> None:
    """Catches an interval so wide that it finds nothing."""
    found = [ratio_interval(one + math.log(1.1)) for one in draws("quiet")]
    assert np.mean([one.low is not None and one.low > 1 for one in found]) >= 0.999


def test_interval_is_students_t() -> None:
    """Catches another interval than the documented one."""
    values = np.array([0.1, 0.2, 0.15, 0.05])
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.9)
    found = ratio_interval(values, 0.9)
    assert found.value == pytest.approx(math.exp(values.mean()))
    assert found.low == pytest.approx(math.exp(expected.low))
    assert found.high == pytest.approx(math.exp(expected.high))


def test_ratios_pair_blocks_and_ignore_a_burst() -> None:
    """Catches unpaired blocks, the ratio upside down, and one slow round that moves the whole process."""
    moments = np.linspace(1, 5, 9)[None, :, None] * np.ones((3, 1, 10))
    slow, fast = 3 * moments, 2 * moments
    slow[1, 4] *= 50
    found = ratio_of(slow.tolist(), fast.tolist())
    assert [found.value, found.low, found.high] == pytest.approx([1.5] * 3)
    assert found.half_width() == pytest.approx(0, abs=1e-9)


def test_one_process_has_no_interval() -> None:
    """Catches a spread of one value, which would be 0 or no number."""
    found = ratio_interval([0.3])
    assert (found.low, found.high, found.excludes_one(), found.half_width()) == (None, None, False, math.inf)
