"""Ratios of latencies: exact centres, intervals that hold what they say, and paired blocks."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from foldpress.benchmark.ratios import ratio_interval, ratio_of

PROCESSES, ROUNDS, REPEATS = 8, 40, 2000
Draws = tuple[NDArray[np.float64], NDArray[np.float64]]


def draws(kind: str, processes: int = PROCESSES) -> Draws:
    """Log-ratios whose true mean is 0, and their variances, [repeat, process], from rounds of a quiet or a busy machine.

    What processes differ by is 0.4 %, as measured (docs/measurements.md).
    """
    generator = np.random.default_rng(0)
    shape = (REPEATS, processes)
    between, within = generator.normal(0, 0.004, shape), np.full(shape, 0.03)
    if kind == "disturbed":  # every fourth process by other work throughout
        within[generator.random(shape) < 0.25] = 0.5
    if kind == "uneven":  # every process by another amount
        within = np.exp(generator.normal(math.log(0.05), 1.2, shape))
    if kind == "misplaced":  # now and then a process differs by much, and its own rounds do not tell
        between += np.where(generator.random(shape) < 0.1, generator.normal(0, 0.1, shape), 0.0)
    rounds = between[..., None] + within[..., None] * generator.standard_t(3, (*shape, ROUNDS))
    centres = np.median(rounds, axis=-1)
    deviations = np.median(np.abs(rounds - centres[..., None]), axis=-1) / stats.norm.ppf(0.75)
    return centres, math.pi / 2 * deviations**2 / ROUNDS


@pytest.mark.parametrize("kind", ["quiet", "disturbed", "uneven", "misplaced"])
def test_intervals_hold_the_truth_as_often_as_they_say(kind: str) -> None:
    """Catches an interval that is too narrow for few processes, or that trusts a process because its own rounds agree."""
    misses = np.mean([ratio_interval(*one).excludes_one() for one in zip(*draws(kind), strict=True)])
    tolerance = 3 * math.sqrt(0.05 * 0.95 / REPEATS)
    assert misses <= 0.05 + tolerance
    if kind == "quiet":
        assert misses >= 0.05 - tolerance


def test_a_bootstrap_over_five_processes_would_not() -> None:
    """Catches the reason for Student's t being none; the percentile bootstrap misses the truth three times as often."""
    assert _bootstrap_misses(draws("quiet", 5)[0]) > 0.1


@pytest.mark.parametrize("kind", ["quiet", "disturbed", "uneven", "misplaced"])
def test_a_difference_of_ten_percent_is_found(kind: str) -> None:
    """Catches an interval so wide that it finds nothing, for one process that was disturbed."""
    centres, variances = draws(kind)
    found = [ratio_interval(*one) for one in zip(centres + math.log(1.1), variances, strict=True)]
    assert np.mean([one.low is not None and one.low > 1 for one in found]) >= 0.95


def _bootstrap_misses(log_ratios: NDArray[np.float64]) -> float:
    """How often the percentile bootstrap over processes misses a true ratio of 1."""
    generator = np.random.default_rng(1)
    chosen = generator.integers(log_ratios.shape[1], size=(500, log_ratios.shape[1]))
    means = log_ratios[:1000, chosen].mean(2)
    low, high = np.quantile(means, [0.025, 0.975], axis=1)
    return float(np.mean((low > 0) | (high < 0)))


@pytest.mark.parametrize("half_width", [0.003, 0.005, 0.01])
def test_stopping_at_a_width_costs_little(half_width: float) -> None:
    """Catches stopping after few processes, whose intervals are narrow by chance: then one in ten misses."""
    centres, variances = draws("quiet", 40)
    misses = 0
    for one in zip(centres[:1000], variances, strict=False):
        sizes = (size for size in range(8, 41) if ratio_interval(*(x[:size] for x in one)).half_width() <= half_width)
        size = next(sizes, 40)
        misses += ratio_interval(*(x[:size] for x in one)).excludes_one()
    assert misses / 1000 <= 0.065 + 3 * math.sqrt(0.065 * 0.935 / 1000)


def test_interval_is_students_t_where_variances_are_equal() -> None:
    """Catches another interval than the documented one, where no process was disturbed more than another."""
    values = np.array([0.1, 0.2, 0.15, 0.05])
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.9)
    found = ratio_interval(values, np.full(4, 0.01), 0.9)
    assert ratio_interval(values, np.zeros(4), 0.9) == found
    assert found.value == pytest.approx(math.exp(values.mean()))
    assert found.low == pytest.approx(math.exp(expected.low))
    assert found.high == pytest.approx(math.exp(expected.high))


def test_weights_are_bounded() -> None:
    """Catches one process with quiet rounds that outvotes all others, and a disturbed one that counts in full."""
    values = np.array([0.0, 0.0, 0.0, 0.0, 0.3])
    variances = np.full(5, 1e-4)
    for variance, low, high in ((1e-12, 0.095, 0.105), (1.0, 0.0, 1e-4)):
        variances[-1] = variance
        assert low <= math.log(ratio_interval(values, variances).value) <= high


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
    found = ratio_interval(np.array([0.3]), np.array([0.1]))
    assert (found.low, found.high, found.excludes_one(), found.half_width()) == (None, None, False, math.inf)
