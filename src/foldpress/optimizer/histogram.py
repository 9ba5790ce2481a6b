"""Mergeable histograms: how the values of every tensor are spread, for every fold, in one pass over the data.

A histogram has a fixed number of bins over [0, 2ᵉ), or over [−2ᵉ, 2ᵉ) where the tensor is ever negative, with e the least
exponent that holds its exact extremes. A value v falls into bin ⌊v/w⌋ of width w, a power of two, and

    ⌊v / 2w⌋ = ⌊⌊v / w⌋ / 2⌋

so when the range grows, pairs of bins merge and no count moves to a wrong one. The grid follows from the extremes and counts
are integers: merging is exact, associative and commutative, and leaving a fold out equals collecting without it bit for bit.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from foldpress.data import Dataset, Indices
from foldpress.optimizer.activations import BUDGET_BYTES
from foldpress.optimizer.one_pass import accumulate, kinds
from foldpress.optimizer.statistics import Ranges, RangeStatistics, extremes, nothing_seen

BINS = 2048
_LEAST_EXPONENT = -100  # keeps bin widths within float32 where a tensor is zero
_PIECE = (
    2**15
)  # values whose bins stay in the processor's cache while they are counted: four times faster than a batch at once

Counts = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Histograms:
    """Exact extremes of every tensor and its histogram, counts [T, BINS], over some samples."""

    ranges: Ranges
    counts: Counts

    def merge(self, other: "Histograms") -> "Histograms":
        """The histograms over the samples of both."""
        ranges = self.ranges.merge(other.ranges)
        return Histograms(ranges, _on_grid_of(ranges, self) + _on_grid_of(ranges, other))

    def edges(self, tensor: int) -> NDArray[np.float64]:
        """Where the bins of a tensor begin, and the end of the last, [BINS + 1]."""
        width, zero = _grid(self.ranges.minimum[tensor], self.ranges.maximum[tensor])
        edges: NDArray[np.float64] = np.ldexp(np.arange(BINS + 1) - float(zero), int(width))
        return edges


@dataclass(frozen=True, eq=False)
class HistogramStatistics:
    """Histograms of every fold of every repeat; `counts` is [repeats, folds, T, BINS]."""

    ranges: RangeStatistics
    counts: Counts

    def without(self, fold: int, repeat: int = 0) -> Histograms:
        """The histograms over every fold but one: calibration for judging that fold.

        Raises:
            GraphError: a tensor overflows on calibration samples.
        """
        merged = self.ranges.without(fold, repeat)
        return self._merged(merged, repeat, [k for k in range(self.counts.shape[1]) if k != fold])

    def all(self) -> Histograms:
        """The histograms over all folds: calibration for the graph that ships.

        Raises:
            GraphError: a tensor overflows on calibration samples.
        """
        return self._merged(self.ranges.all(), 0, list(range(self.counts.shape[1])))

    def merge(self, other: "HistogramStatistics") -> "HistogramStatistics":
        """Fold by fold, the histograms over the samples of both; the tensors and repeats must be the same."""
        one, two = self._with_folds(other.counts.shape[1]), other._with_folds(self.counts.shape[1])
        counts = np.empty_like(one.counts)
        for repeat, fold in np.ndindex(counts.shape[:2]):
            counts[repeat, fold] = one._of(repeat, fold).merge(two._of(repeat, fold)).counts
        return HistogramStatistics(one.ranges.merge(two.ranges), counts)

    def _with_folds(self, folds: int) -> "HistogramStatistics":
        repeats, own, *shape = self.counts.shape
        empty = np.zeros((repeats, max(folds - own, 0), *shape), np.int64)
        return HistogramStatistics(self.ranges.with_folds(folds), np.concatenate([self.counts, empty], 1))

    def _of(self, repeat: int, fold: int) -> Histograms:
        low, high = self.ranges.minimum[repeat, fold], self.ranges.maximum[repeat, fold]
        return Histograms(Ranges(self.ranges.tensors, low, high), self.counts[repeat, fold])

    def _merged(self, ranges: Ranges, repeat: int, folds: Sequence[int]) -> Histograms:
        total = np.zeros(self.counts.shape[2:], np.int64)
        for fold in folds:
            total += _on_grid_of(ranges, self._of(repeat, fold))
        return Histograms(ranges, total)


class HistogramAccumulator:
    """Histograms that grow sample by sample. Each takes 16 KiB for every tensor, fold and repeat.

    Args:
        tensors: names of float tensors.
        numbers: fold number of each sample in each repeat, [repeats, N].
    """

    def __init__(self, tensors: Sequence[str], numbers: Indices) -> None:
        self.tensors = tuple(tensors)
        self._number = {name: number for number, name in enumerate(tensors)}
        self._folds, self._kind = kinds(numbers)
        self._low, self._high = nothing_seen(len(numbers), int(numbers.max()) + 1, len(tensors))
        self._counts = np.zeros((*self._low.shape, BINS), np.int64)

    def add(self, tensor: str, position: Indices, values: NDArray[np.float32]) -> None:
        """Take in a tensor's values, [n, …], in the samples at these positions, [n]; those of one kind are counted at once."""
        kind = self._kind[position]
        borders = np.flatnonzero(np.diff(kind)) + 1
        parts = np.split(values, borders) if len(borders) else [values]
        for first, alike in zip([0, *borders], parts, strict=True):
            part = _histogram(alike)
            for repeat, fold in enumerate(self._folds[:, kind[first]]):
                _add(self._low, self._high, self._counts, (repeat, fold, self._number[tensor]), part)

    def statistics(self) -> HistogramStatistics:
        """The histograms of what was added."""
        return HistogramStatistics(RangeStatistics(self.tensors, self._low, self._high), self._counts)


def collect_histograms(
    model: ir.Model, tensors: Sequence[str], dataset: Dataset, numbers: Indices, *, budget: int = BUDGET_BYTES
) -> HistogramStatistics:
    """The histograms of `tensors` of a float graph with shapes inferred, for every fold; see `accumulate`."""
    histograms = HistogramAccumulator(tensors, numbers)
    accumulate(model, [histograms], dataset, numbers, budget=budget)
    return histograms.statistics()


Part = tuple[np.float32, np.float32, Counts]


def _histogram(values: NDArray[np.float32]) -> Part:
    """Extremes and counts of some values, on the grid of those extremes; no counts where one is not finite."""
    row = values.reshape(1, -1)
    (low,), (high,) = extremes(row)
    if not (math.isfinite(low) and math.isfinite(high)):
        return low, high, np.zeros(BINS, np.int64)
    width, zero = _grid(low, high)
    # To scale down may round the smallest negative values up to zero, into the bin above their own; float64 holds them.
    exact = np.float32 if width <= 0 else np.float64
    counts = np.zeros(BINS, np.int64)
    for start in range(0, row.size, _PIECE):
        scaled = np.multiply(row[0, start : start + _PIECE], exact(2.0**-width), dtype=exact)
        bins = np.floor(scaled, out=scaled)
        bins += exact(zero)
        counts += np.bincount(bins.astype(np.intp), minlength=BINS)
    return low, high, counts


def _add(
    low: NDArray[np.float32], high: NDArray[np.float32], counts: Counts, cell: tuple[int, int, int], part: Part
) -> None:
    """Merge the histogram of some values into that of one repeat, fold and tensor."""
    before = low[cell], high[cell], counts[cell]
    low[cell], high[cell] = np.minimum(low[cell], part[0]), np.maximum(high[cell], part[1])
    counts[cell] = _on_grid(low[cell], high[cell], before) + _on_grid(low[cell], high[cell], part)


def _on_grid(low: np.floating, high: np.floating, part: Part) -> Counts:
    """Counts on the grid of extremes that contain their own; none if those are not finite: who asks for them is refused."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return np.zeros_like(part[2])
    return _regrid(part[2], _grid(part[0], part[1]), _grid(low, high))


def _grid(minimum: np.floating, maximum: np.floating) -> tuple[int, int]:
    """The exponent of a histogram's bin width, and the number of the bin that begins at zero."""
    largest = max(abs(float(minimum)), abs(float(maximum)))
    exponent = max(math.frexp(largest)[1], _LEAST_EXPONENT) if math.isfinite(largest) else _LEAST_EXPONENT
    signed = int(minimum < 0)
    return exponent + signed - (BINS.bit_length() - 1), signed * BINS // 2


def _regrid(counts: Counts, before: tuple[int, int], after: tuple[int, int]) -> Counts:
    """The same counts on a grid of bins 2ˢ times as wide, [BINS]: 2ˢ neighbours each become one."""
    if before == after:
        return counts
    (width, zero), (wider, new_zero) = before, after
    shift = min(wider - width, (BINS - zero).bit_length() - 1)  # beyond that all are in the two bins beside zero
    merged = counts.reshape(-1, 2**shift).sum(1)
    first = new_zero - (zero >> shift)
    regridded = np.zeros_like(counts)
    regridded[first : first + len(merged)] = merged
    return regridded


def _on_grid_of(ranges: Ranges, histograms: Histograms) -> Counts:
    """Counts of every tensor on the grid of `ranges`, which contain the histograms' own, [T, BINS]."""
    own = histograms.ranges
    rows = zip(ranges.minimum, ranges.maximum, own.minimum, own.maximum, histograms.counts, strict=True)
    return np.stack([_on_grid(low, high, (a, b, counts)) for low, high, a, b, counts in rows])
