"""From merged histograms to ranges: how much of each tensor's tails int8 had better clip.

- minmax: the exact extremes; nothing is clipped.
- percentile: all but 0.01 % of the values, half of them cut at either end.
- entropy: the candidate whose 256 levels lose the least information, KL(P‖Q) (Migacz, "8-bit inference with TensorRT",
  2017), with P the clipped histogram and Q its levels spread evenly over their occupied bins.
- mse: the candidate with the least expected squared error of rounding and clipping, both ends searched.
- least-error: of these four, for each tensor the one with the least expected squared error.

A graph's own outputs are never clipped: they are what its user reads, and two clipped scores would tie. Every range
contains 0.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from foldpress.errors import choose_from
from foldpress.optimizer.histogram import BINS, Histograms
from foldpress.optimizer.passes import LogEntry
from foldpress.optimizer.statistics import Ranges
from foldpress.optimizer.targets import Target

Method = Literal["auto", "minmax", "percentile", "entropy", "mse"]
Range = tuple[float, float]
Numbers = NDArray[np.float64]

_COVERED = 0.9999
_SHARES = np.arange(1, 101) / 100  # of the extremes: the candidates
_ROUNDS = 3  # of searching one end while the other stands still; two nearly always do
_LEVELS = 255  # steps between the 256 values of 8 bits
_SYMMETRIC_LEVELS = 127  # on either side of zero


@dataclass(frozen=True, eq=False)
class Spread:
    """How one tensor's values are spread: counts [BINS] between edges [BINS + 1], and the exact extremes with 0."""

    counts: NDArray[np.int64]
    edges: Numbers
    low: float
    high: float
    symmetric: bool

    def squared_error(self, low: Numbers, high: Numbers) -> Numbers:
        """Expected squared error, over all values, of 8 bits on each of the ranges [low, high], [C]."""
        bins = np.flatnonzero(self.counts)
        values = (self.edges[bins] + self.edges[bins + 1]) / 2
        values[self.edges[bins] == 0] = 0  # what ReLU and padding leave is exactly 0
        if self.symmetric:
            scale = np.maximum(-low, high)[:, None] / _SYMMETRIC_LEVELS
            first, last = np.full_like(scale, -_SYMMETRIC_LEVELS), np.full_like(scale, _SYMMETRIC_LEVELS)
        else:
            scale = (high - low)[:, None] / _LEVELS
            first = np.round(low[:, None] / scale)
            last = first + _LEVELS
        restored = scale * np.clip(np.round(values / scale), first, last)
        error: Numbers = (restored - values) ** 2 @ self.counts[bins] / self.counts.sum()
        return error

    def error_of(self, chosen: Range) -> float:
        """Expected squared error of one range."""
        return float(self.squared_error(np.array(chosen[:1]), np.array(chosen[1:]))[0])

    def within(self, low: float, high: float) -> Range:
        """The range cut to the extremes, with 0."""
        return min(max(low, self.low), 0.0), max(min(high, self.high), 0.0)


def spread(histograms: Histograms, tensor: int, *, symmetric: bool) -> Spread:
    """One tensor of merged histograms, to be quantized with or without a zero point."""
    low, high = float(histograms.ranges.minimum[tensor]), float(histograms.ranges.maximum[tensor])
    return Spread(histograms.counts[tensor], histograms.edges(tensor), min(low, 0.0), max(high, 0.0), symmetric)


def minmax_range(found: Spread) -> Range:
    """The extremes."""
    return found.low, found.high


def percentile_range(found: Spread, covered: float = _COVERED) -> Range:
    """The bins that hold the share `covered` of the values, as much being cut at either end."""
    below = np.cumsum(found.counts)
    cut = (1 - covered) / 2 * below[-1]
    first, last = np.searchsorted(below, cut, "right"), np.searchsorted(below, below[-1] - cut, "left")
    return found.within(float(found.edges[first]), float(found.edges[last + 1]))


def mse_range(found: Spread) -> Range:
    """The candidate of the least expected squared error: both ends together first, then each in turn."""

    def best(lows: Numbers, highs: Numbers) -> Range:
        # Nearly the same error with less clipping is the better choice: the last of equals.
        error = found.squared_error(lows, highs)[::-1]
        chosen = len(error) - 1 - int(np.argmin(error))
        return float(lows[chosen]), float(highs[chosen])

    low, high = best(_SHARES * found.low, _SHARES * found.high)
    if found.symmetric or not found.low or not found.high:
        return low, high
    for _ in range(_ROUNDS):
        before = low, high
        low, high = best(np.full_like(_SHARES, low), _SHARES * found.high)
        low, high = best(_SHARES * found.low, np.full_like(_SHARES, high))
        if (low, high) == before:
            break
    return low, high


def entropy_range(found: Spread) -> Range:
    """The candidate of the least KL(P‖Q); no Python loop over candidates or bins.

    With h the counts, l a level of n_l occupied bins that hold M_l values, and T values in all, S of them not clipped:
    KL = Σ_b h_b/T · log(h_b/T) − Σ_l P_l/T · log(M_l / (n_l S)), clipped values counting in the outermost occupied bins of P.
    """
    zero = int(np.searchsorted(found.edges, 0.0))
    width = found.edges[1] - found.edges[0]
    ends = (max(-found.low, found.high),) * 2 if found.symmetric and found.low else (-found.low, found.high)
    first = np.maximum(zero - np.ceil(_SHARES * ends[0] / width).astype(np.intp), 0)
    last = np.minimum(zero + np.ceil(_SHARES * ends[1] / width).astype(np.intp), BINS)
    levels = (_SYMMETRIC_LEVELS if found.symmetric and not found.low else _LEVELS) + 1
    wide = last - first >= levels  # with a bin a level nothing is lost but what is clipped, and the bins decide
    if not wide.any():
        return minmax_range(found)
    divergence = _divergence(_without_spike(found.counts, zero), first[wide], last[wide], levels)
    chosen = np.flatnonzero(wide)[len(divergence) - 1 - int(np.argmin(divergence[::-1]))]
    return found.within(float(found.edges[first[chosen]]), float(found.edges[last[chosen]]))


def _without_spike(counts: NDArray[np.int64], zero: int) -> Numbers:
    """Zeros are exact in every candidate: their bin counts no more than its neighbours, and decides nothing."""
    smoothed = counts.astype(np.float64)
    around = [smoothed[bin_] for bin_ in (zero - 1, zero + 1) if 0 <= bin_ < BINS]
    if zero < BINS:
        smoothed[zero] = min(smoothed[zero], max(around))
    return smoothed


def _divergence(counts: Numbers, first: NDArray[np.intp], last: NDArray[np.intp], levels: int) -> Numbers:
    """KL(P‖Q) for the bins [first, last) of each candidate, [C]; infinite for one that holds nothing."""

    def sums(terms: Numbers) -> Numbers:
        return np.concatenate([[0.0], np.cumsum(terms)])

    def times_log(amount: Numbers) -> Numbers:
        return amount * np.log(np.where(amount > 0, amount, 1))

    mass, occupied, information = sums(counts), sums((counts > 0).astype(np.float64)), sums(times_log(counts))
    borders = first[:, None] + (last - first)[:, None] * np.arange(levels + 1) // levels
    kept, bins = np.diff(mass[borders]), np.diff(occupied[borders])
    total, inside = mass[-1], mass[last] - mass[first]
    clipped, own = kept.copy(), information[last] - information[first]
    seen, candidates = np.append(np.flatnonzero(counts), BINS), np.arange(len(first))
    nearest = seen[np.searchsorted(seen, first)], seen[np.searchsorted(seen, last) - 1]
    for edge, outside in zip(nearest, (mass[first], total - mass[last]), strict=True):
        edge = np.clip(edge, first, last - 1)  # where a candidate holds nothing, which is lost in any case
        level = (borders[:, :-1] <= edge[:, None]).sum(1) - 1
        clipped[candidates, level] += outside
        own += times_log(counts[edge] + outside) - times_log(counts[edge])
    height = np.log(np.where(kept > 0, kept / np.maximum(bins, 1), 1))
    against = (clipped * (height - np.log(np.maximum(inside, 1))[:, None])).sum(1)
    return np.where(inside > 0, (own - against) / total - np.log(total), np.inf)


def least_error_range(found: Spread) -> Range:
    """Of all methods' ranges, the one of the least expected squared error; the least clipped of equals."""
    return min(
        (method(found) for method in (minmax_range, percentile_range, entropy_range, mse_range)), key=found.error_of
    )


METHODS: dict[str, Callable[[Spread], Range]] = {
    "minmax": minmax_range,
    "percentile": percentile_range,
    "entropy": entropy_range,
    "mse": mse_range,
    "least-error": least_error_range,
}


def choose_method(name: str) -> Method:
    """The method of that name.

    Raises:
        RequestError: there is no such method.
    """
    methods: tuple[Method, ...] = get_args(Method)
    return choose_from(methods, name, "there is no calibration method")


def resolve(method: str, target: Target) -> str:
    """The method that `auto` stands for: what flipped the fewest predictions (docs/measurements.md).

    With a zero point, mse flips fewer than minmax on every network there, and is never far from the best. Without one, half
    of the levels are lost wherever a tensor is never negative; there percentile is best on two of three, and best on average.
    """
    if method != "auto":
        return method
    return "percentile" if target.symmetric_activations else "mse"


def needs_histograms(method: str, target: Target) -> bool:
    """Whether extremes alone do not decide."""
    return resolve(method, target) != "minmax"


def choose_ranges(
    statistics: Ranges | Histograms, method: str, target: Target, outputs: frozenset[str] = frozenset()
) -> tuple[Ranges, LogEntry]:
    """A range for every tensor, with what the log says of them.

    Args:
        statistics: of the calibration samples; extremes alone do for minmax.
        method: one of `Method`.
        target: what it is quantized for.
        outputs: names of tensors that are not to be clipped.
    """
    exact = statistics.ranges if isinstance(statistics, Histograms) else statistics
    low, high = np.minimum(exact.minimum, 0), np.maximum(exact.maximum, 0)
    resolved = resolve(method, target)
    if resolved != "minmax":
        assert isinstance(statistics, Histograms)  # noqa: S101  # see needs_histograms
        for tensor, name in enumerate(exact.tensors):
            if name not in outputs and low[tensor] < high[tensor]:
                found = spread(statistics, tensor, symmetric=target.symmetric_activations)
                low[tensor], high[tensor] = METHODS[resolved](found)
    named = resolved if resolved == method else f"{method}: {resolved}"
    clipped = int(((low > exact.minimum) | (high < exact.maximum)).sum())
    entry = LogEntry(
        "calibration", f"{len(exact.tensors)} tensors", "done", f"{named}; {clipped} of {len(exact.tensors)} clipped"
    )
    return Ranges(exact.tensors, low, high), entry
