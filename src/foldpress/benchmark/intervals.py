"""Bounds and intervals: how large can the truth be, given what was seen?

Tango's score bound for the difference of paired proportions (T. Tango, Statistics in Medicine 17, 1998, 891–908). Of n
paired samples, b were right before and wrong after (lost), c the other way round (gained). The drop is (b − c)/n, and
its one-sided upper bound solves, for D,

    (b − c − nD) / √(n (2q + D (1 − D))) = −z,     q = (√(B² − 4AC) − B) / 2A,
    A = 2n,   B = −b − c + (2n − b + c) D,   C = −c D (1 − D)

where q is the probability of a gain that is likeliest under a true drop D. With no flips at all it is z²/(n + z²):
unlike Wald's or a bootstrap interval, it does not collapse when nothing was seen to change.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

_ABOVE = 1e-9  # far below one flip in any sample there will be


def tango_upper(lost: int, gained: int, n: int, confidence: float = 0.95) -> float:
    """One-sided upper bound on the drop (b − c)/n of paired proportions.

    Args:
        lost: samples right before and wrong after (b).
        gained: samples wrong before and right after (c).
        n: all samples.
        confidence: one-sided, in [0.5, 1).
    """
    if n <= 0 or min(lost, gained) < 0 or lost + gained > n:
        raise ValueError(f"no such table: lost {lost}, gained {gained} of {n}")
    z = float(stats.norm.ppf(confidence))
    drop = (lost - gained) / n
    if lost == n:
        return 1.0

    def excess(bound: float) -> float:
        return (lost - gained - n * bound) + z * math.sqrt(_score_variance(lost, gained, n, bound))

    # At the drop itself the variance may vanish (nothing flipped), which makes it a root, but not the one sought.
    start = drop + _ABOVE
    if excess(start) <= 0:  # at a confidence of 0.5, z is 0 and the bound is the drop
        return start
    return float(optimize.brentq(excess, start, 1.0, xtol=1e-12)) if excess(1.0) < 0 else 1.0


def clopper_pearson_upper(events: int, n: int, confidence: float = 0.95) -> float:
    """Exact one-sided upper bound on a proportion (Clopper and Pearson, 1934)."""
    return 1.0 if events >= n else float(stats.beta.ppf(confidence, events + 1, n - events))


def mean_upper(differences: NDArray[Any], confidence: float = 0.95) -> float:
    """One-sided upper bound on the mean of independent differences, by Student's t; infinite for fewer than two."""
    if len(differences) < 2:  # a spread needs two
        return math.inf
    error = float(np.std(differences, ddof=1)) / math.sqrt(len(differences))
    return float(np.mean(differences) + stats.t.ppf(confidence, len(differences) - 1) * error)


def quantile_samples(quantile: float, confidence: float = 0.99) -> int:
    """How many samples a quantile needs before one of them bounds it with this confidence (LoadGen's early stopping).

    The smallest n for which the largest of n samples exceeds the quantile with the confidence that MLPerf asks for,
    with one spare above it: P(fewer than 2 of n samples exceed the quantile) ≤ 1 − confidence.
    """
    candidates = np.arange(1, math.ceil(20 / (1 - quantile)))
    enough = stats.binom.cdf(1, candidates, 1 - quantile) <= 1 - confidence
    return int(candidates[np.argmax(enough)])


def quantile_upper(samples: NDArray[Any], quantile: float, confidence: float = 0.95) -> float | None:
    """Distribution-free one-sided upper bound on a quantile: an order statistic; None where no sample lies that high.

    The k-th smallest of n samples is at least the quantile with probability P(Binomial(n, quantile) < k).
    """
    k = int(stats.binom.ppf(confidence, len(samples), quantile)) + 1
    return float(np.partition(samples, k - 1)[k - 1]) if k <= len(samples) else None


def _score_variance(lost: int, gained: int, n: int, drop: float) -> float:
    """The term n (2q + D(1 − D)): variance of b − c under a true drop D, with the likeliest probability of a gain."""
    a = 2 * n
    b = -lost - gained + (2 * n - lost + gained) * drop
    c = -gained * drop * (1 - drop)
    q = (math.sqrt(max(b * b - 4 * a * c, 0.0)) - b) / (2 * a)
    return max(n * (2 * q + drop * (1 - drop)), 0.0)
