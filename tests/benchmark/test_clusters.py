"""Bounds by group against loops over groups, and what becomes of them at the corners."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from foldpress.benchmark.accuracy import drop_upper
from foldpress.benchmark.clusters import grouped_drop_upper, grouped_share_upper
from foldpress.benchmark.intervals import clopper_pearson_upper, tango_upper

Floats = NDArray[np.float64]


def spread(values: Floats, group: NDArray[np.int64]) -> float:
    """Variance of the mean as groups show it, by a loop."""
    labels = sorted(set(group.tolist()))
    overall = sum(values) / len(values)
    total = 0.0
    for label in labels:
        own = [value for value, other in zip(values, group, strict=True) if other == label]
        total += (sum(own) - len(own) * overall) ** 2
    return total * len(labels) / (len(labels) - 1) / len(values) ** 2


def drawn(seed: int = 0, groups: int = 12) -> tuple[Floats, NDArray[np.int64]]:
    """Losses (1), gains (−1) and neither, in groups of unequal size, some of which lose more."""
    generator = np.random.default_rng(seed)
    group = generator.integers(0, groups, 400)
    lose = generator.gamma(1.0, 0.06, groups)[group]
    chance = generator.random(400)
    return np.where(chance < lose, 1.0, np.where(chance > 0.98, -1.0, 0.0)), group


def test_drop_by_its_formula() -> None:
    """Catches a design effect that divides only some counts, and a normal quantile where the variance is a guess."""
    lost, group = drawn()
    b, c, n = (lost > 0).sum(), (lost < 0).sum(), len(lost)
    effect = spread(lost, group) / (((b + c) / n - lost.mean() ** 2) / n)
    assert effect > 1.5
    expected = tango_upper(b / effect, c / effect, n / effect, 0.95, degrees=11)
    assert grouped_drop_upper(lost, group, binary=True) == pytest.approx(expected)
    assert expected > tango_upper(int(b), int(c), n)


def test_scores_of_any_size_are_student_over_groups() -> None:
    """Catches samples counted where groups are what is independent."""
    lost, group = drawn(3)
    lost = lost + np.random.default_rng(1).normal(0, 0.1, len(lost))
    expected = lost.mean() + stats.t.ppf(0.95, 11) * math.sqrt(spread(lost, group))
    assert grouped_drop_upper(lost, group, binary=False) == pytest.approx(expected)


def test_equal_groups_are_a_t_test_on_their_means() -> None:
    """Catches a variance that is off by a factor: for groups of one size the textbook's is known."""
    values = np.random.default_rng(0).normal(size=(8, 25)) + np.arange(8)[:, None]
    interval = stats.ttest_1samp(values.mean(1), 0, alternative="less").confidence_interval(0.95)
    bound = grouped_drop_upper(values.ravel(), np.repeat(np.arange(8), 25), binary=False)
    assert bound == pytest.approx(interval.high)


def test_share_is_clopper_pearson_on_fewer_samples() -> None:
    """Catches flips counted as if each were its own evidence: ten copies of a sample prove no more than one."""
    events = np.zeros(40, bool)
    events[:3] = True
    copies, group = np.repeat(events, 10), np.repeat(np.arange(40), 10)
    bound = grouped_share_upper(copies, group)
    assert clopper_pearson_upper(3, 40) <= bound < 1.25 * clopper_pearson_upper(3, 40)
    assert bound > 1.5 * clopper_pearson_upper(30, 400)


@given(st.integers(0, 500), st.floats(0.5, 0.999))
def test_never_below_what_independent_samples_would_give(seed: int, confidence: float) -> None:
    """Catches groups that make a bound narrower, and a confidence whose quantile is zero."""
    lost, group = drawn(seed)
    b, c = int((lost > 0).sum()), int((lost < 0).sum())
    assert grouped_drop_upper(lost, group, confidence, binary=True) >= tango_upper(b, c, 400, confidence) - 1e-6
    share = grouped_share_upper(lost > 0, group, confidence)
    assert share >= clopper_pearson_upper(b, 400, confidence) - 1e-9


def test_corners() -> None:
    """Catches a bound made up from one group, a division by zero where nothing flipped, and NaN that becomes a bound."""
    group = np.repeat(np.arange(5), 20)
    none, every = np.zeros(100), np.ones(100)
    quantile = stats.t.ppf(0.95, 4)
    assert grouped_drop_upper(none, group, binary=True) == pytest.approx(quantile**2 / (100 + quantile**2))
    assert grouped_drop_upper(every, group, binary=True) == 1.0
    assert grouped_share_upper(every > 0, group) == 1.0
    assert grouped_share_upper(none > 0, group) > clopper_pearson_upper(0, 100)
    one = np.zeros(100, int)
    assert grouped_drop_upper(none, one, binary=True) == math.inf
    assert grouped_share_upper(none > 0, one) == 1.0
    assert not math.isfinite(grouped_drop_upper(np.where(group == 1, math.nan, 0.0), group, binary=True))


def test_groups_reach_the_drop() -> None:
    """Catches groups that are kept in the table and then ignored."""
    lost, group = drawn()
    assert drop_upper(lost, 0.95, binary=True, group=group) == grouped_drop_upper(lost, group, binary=True)
