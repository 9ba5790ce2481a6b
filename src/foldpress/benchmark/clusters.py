"""Bounds where samples come in groups that err together: speakers, patients, cameras.

Samples of a group are worth less than as many independent ones. How much less is the design effect: the variance of the
mean as the groups show it, over the variance that independent samples would have had. With S_g the sum of the differences
of group g, n_g its size, D their overall mean and G groups (Cochran, Sampling Techniques, 1977, §11.8),

    variance = G / (G − 1) · Σ (S_g − n_g D)² / n²,     effect = max(1, variance / independent variance)

Counts are divided by it (Rao and Scott, Biometrics 48, 1992, 577–585) and bounded as before, with G − 1 degrees of freedom.
For the drop that is Tango's bound; for a single proportion, Clopper and Pearson's (Korn and Graubard, Survey Methodology 24,
1998, 193–201). Unlike a bootstrap over groups neither collapses where nothing flipped, though groups that never flip show
nothing of how they differ: the bound then is the one of as many independent samples.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from foldpress.benchmark.intervals import tango_upper


def grouped_drop_upper(lost: NDArray[Any], group: NDArray[Any], confidence: float = 0.95, *, binary: bool) -> float:
    """Upper bound on the mean loss where the samples of a group are not independent; infinite for fewer than two groups.

    Args:
        lost: each sample's score before minus after, [n].
        group: each sample's group, [n].
        confidence: one-sided.
        binary: whether scores are right or wrong, or means of such; else Student's t over groups.
    """
    count = len(np.unique(group))
    if count < 2 or not np.isfinite(lost).all():
        return math.inf
    drop, error = float(np.mean(lost)), math.sqrt(_variance(lost, group))
    if not binary:
        return drop + float(stats.t.ppf(confidence, count - 1)) * error
    b, c, n = float(lost[lost > 0].sum()), float(-lost[lost < 0].sum()), len(lost)
    effect = _effect(error**2, ((b + c) / n - drop**2) / n)
    return tango_upper(b / effect, c / effect, n / effect, confidence, degrees=count - 1)


def grouped_share_upper(events: NDArray[Any], group: NDArray[Any], confidence: float = 0.95) -> float:
    """Upper bound on the share of events where the samples of a group are not independent; 1 for fewer than two groups."""
    n, count = len(events), len(np.unique(group))
    if count < 2:
        return 1.0
    share = float(np.mean(events))
    if share == 1:
        return 1.0
    wider = stats.t.isf((1 - confidence) / 2, count - 1) / stats.t.isf((1 - confidence) / 2, n - 1)
    worth = n / _effect(_variance(events.astype(float), group), share * (1 - share) / n) / wider**2
    return float(stats.beta.ppf(confidence, share * worth + 1, (1 - share) * worth))


def _variance(values: NDArray[Any], group: NDArray[Any]) -> float:
    """Of the mean over all samples."""
    _, where, sizes = np.unique(group, return_inverse=True, return_counts=True)
    excess = np.bincount(where, values) - sizes * np.mean(values)
    return float(len(sizes) / (len(sizes) - 1) * (excess**2).sum() / len(values) ** 2)


def _effect(variance: float, independent: float) -> float:
    return max(1.0, variance / independent) if independent > 0 else 1.0
