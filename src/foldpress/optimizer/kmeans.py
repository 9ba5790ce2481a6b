"""Optimal one-dimensional k-means: the K values of least weighted squared error, by dynamic programming.

Sorted values fall into runs, x_i … x_j−1 to one centre each. With D_c(j) the least error of the first j values in c runs,

    D_c(j) = min over i ≤ j of D_c−1(i) + error(i, j),        error(i, j) = Σ w x² − (Σ w x)² / Σ w

(Wang and Song 2011, The R Journal 3/2, Ckmeans.1d.dp). The best i never falls as j grows, so j between two that are known has
only what lies between their best i to try: n log n steps for each centre. Many rows are solved side by side.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Places = NDArray[np.intp]

# More values than these are summed up in so many bins, none with more than twice its share of their count or of their range:
# of 256 clusters each still has 16 bins on average.
BINS = 4096
_ROWS = 2**21  # values that are solved at once


def optimal_centers(values: Floats, weights: Floats, count: int) -> Floats:
    """The `count` centres of every row, in order, [P, count]; some repeat where a row has fewer values.

    Args:
        values: [P, n].
        weights: of each value's squared error, not negative, [P, n]; a value of weight 0 counts for nothing.
        count: K.
    """
    at_once = max(1, _ROWS // min(values.shape[1], BINS) // count)
    parts = [slice(start, start + at_once) for start in range(0, len(values), at_once)]
    return np.concatenate([_centers(values[part], weights[part], count) for part in parts])


def nearest(values: Floats, centers: Floats) -> Places:
    """The place of the centre that is nearest to each value: [P, n] among [P, K], which are in order."""
    middles = (centers[:, 1:] + centers[:, :-1]) / 2
    return np.stack([np.searchsorted(row, found) for row, found in zip(middles, values, strict=True)])


def _centers(values: Floats, weights: Floats, count: int) -> Floats:
    sums = _sums(values, weights)
    cuts = _cuts(sums, count)
    mass, first = (np.diff(np.take_along_axis(one, cuts, 1), axis=1) for one in sums[:2])
    found = np.where(mass > 0, first / np.where(mass > 0, mass, 1), -np.inf)
    largest = found.max(1, keepdims=True)
    filled = np.where(np.isfinite(found), found, np.where(np.isfinite(largest), largest, 0))
    return np.asarray(np.sort(filled, axis=1) + _middle(values, weights))


def _middle(values: Floats, weights: Floats) -> Floats:
    """The mean of every row: around it, sums of squares lose few digits to each other."""
    mass = weights.sum(1, keepdims=True)
    return np.asarray((values * weights).sum(1, keepdims=True) / np.where(mass > 0, mass, 1))


def _sums(values: Floats, weights: Floats) -> tuple[Floats, Floats, Floats]:
    """Σ w, Σ w x and Σ w x² over the first j values or bins in order, j = 0 … n, [P, n + 1] each."""
    order = np.argsort(values, axis=1, kind="stable")
    x = np.take_along_axis(values - _middle(values, weights), order, 1)
    w = np.take_along_axis(weights, order, 1)
    parts = [w, w * x, w * x * x]
    if x.shape[1] > BINS:
        parts = [_in_bins(part, _bins(x)) for part in parts]
    mass, first, second = (np.pad(np.cumsum(part, axis=1), ((0, 0), (1, 0))) for part in parts)
    return mass, first, second


def _bins(x: Floats) -> Places:
    """The bin of each value in order: half of them divide the range, half the count."""
    span = np.ptp(x, axis=1, keepdims=True)
    in_range = (x - x[:, :1]) / np.where(span > 0, span, 1)
    in_count = np.arange(x.shape[1]) / x.shape[1]
    return np.asarray(np.floor((in_range + in_count) / 2 * (BINS - 1)), np.intp)


def _in_bins(part: Floats, bins: Places) -> Floats:
    rows = np.arange(len(part))[:, None] * BINS
    summed = np.bincount((rows + bins).ravel(), part.ravel(), len(part) * BINS)
    return np.asarray(summed.reshape(-1, BINS), np.float64)


def _cuts(sums: tuple[Floats, Floats, Floats], count: int) -> Places:
    """Where each run starts, and the last one ends, [P, K + 1]."""
    rows, ends = sums[0].shape
    best = _error(*sums)
    starts = []
    for _ in range(count - 1):
        best, start = _next(sums, best)
        starts.append(start)
    cuts = [np.full(rows, ends - 1)]
    for start in reversed(starts):
        cuts.append(start[np.arange(rows), cuts[-1]])
    return np.stack([*cuts, np.zeros(rows, np.intp)][::-1], axis=1)


def _next(sums: tuple[Floats, Floats, Floats], best: Floats) -> tuple[Floats, Places]:
    """D_c and where its last run starts, both [P, n + 1], from D_c−1: each place after those half as dense on both sides."""
    rows, ends = best.shape
    found, start = np.zeros_like(best), np.zeros((rows, ends), np.intp)
    step = 1 << (ends - 1).bit_length()
    while step > 1:
        half = step // 2
        places = np.arange(half, ends, step)
        behind = np.minimum(places + half, ends - 1)
        high = np.where(places + half < ends, np.minimum(start[:, behind], places), places)
        found[:, places], start[:, places] = _least(sums, best, places, start[:, places - half], high)
        step = half
    return found, start


def _least(
    sums: tuple[Floats, Floats, Floats], best: Floats, ends: Places, low: Places, high: Places
) -> tuple[Floats, Places]:
    """The least D_c−1(i) + error(i, j) over low ≤ i ≤ high, and its first i, for every row and end j: [P, ends] each."""
    lengths = (high - low + 1).ravel()
    firsts = np.cumsum(lengths) - lengths
    offsets = np.repeat(np.arange(len(low)) * best.shape[1], len(ends))
    tried = np.arange(lengths.sum()) - np.repeat(firsts - low.ravel() - offsets, lengths)  # places in all rows, flat
    parts = (np.repeat(one[:, ends].ravel(), lengths) - one.ravel()[tried] for one in sums)
    errors = best.ravel()[tried] + _error(*parts)
    least = np.minimum.reduceat(errors, firsts)
    start = np.minimum.reduceat(np.where(errors == np.repeat(least, lengths), tried, best.size), firsts) - offsets
    return least.reshape(low.shape), start.reshape(low.shape)


def _error(mass: Floats, first: Floats, second: Floats) -> Floats:
    """Σ w x² − (Σ w x)² / Σ w, given the three sums."""
    return np.asarray(np.maximum(second - first**2 / np.where(mass > 0, mass, 1), 0))
