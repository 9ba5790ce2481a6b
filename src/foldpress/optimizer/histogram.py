"""Mergeable histograms: how the values of every tensor are spread, for every fold, in one pass over the data.

A histogram has a fixed number of bins over [0, 2ᵉ), or over [−2ᵉ, 2ᵉ) where the tensor is ever negative, with e the least
exponent that holds its exact extremes. A value v falls into bin ⌊v/w⌋ of width w, a power of two, and

    ⌊v / 2w⌋ = ⌊⌊v / w⌋ / 2⌋

so when the range grows, pairs of bins merge and no count moves to a wrong one. The grid follows from the extremes and counts
are integers: merging is exact, associative and commutative, and leaving a fold out equals collecting without it bit for bit.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from foldpress.data import Dataset, Indices
from foldpress.graph import copy_graph
from foldpress.optimizer.statistics import Ranges, RangeStatistics, filled_batches, keeps_samples_apart, values_by_name
from foldpress.progress import track
from foldpress.runtime import open_session, run

BINS = 2048
_BATCH = 8  # every activation of a batch is in memory at once
_LEAST_EXPONENT = -100  # keeps bin widths within float32 where a tensor is zero

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

    def _merged(self, ranges: Ranges, repeat: int, folds: Sequence[int]) -> Histograms:
        total = np.zeros(self.counts.shape[2:], np.int64)
        for fold in folds:
            low, high = self.ranges.minimum[repeat, fold], self.ranges.maximum[repeat, fold]
            total += _on_grid_of(ranges, Histograms(Ranges(ranges.tensors, low, high), self.counts[repeat, fold]))
        return Histograms(ranges, total)


def collect_histograms(
    model: ir.Model, tensors: Sequence[str], dataset: Dataset, numbers: Indices
) -> HistogramStatistics:
    """One pass over the data: extremes and histograms of `tensors` for every fold.

    Memory holds the activations of one batch and 16 KiB for each tensor, fold and repeat.

    Args:
        model: a float graph with shapes inferred.
        tensors: names of float tensors of that graph.
        dataset: calibration samples.
        numbers: fold number of each sample in each repeat, [repeats, N].
    """
    names = tuple(tensors)
    repeats, folds = len(numbers), int(numbers.max()) + 1
    low = np.full((repeats, folds, len(names)), np.inf, np.float32)
    high = np.full_like(low, -np.inf)
    counts = np.zeros((*low.shape, BINS), np.int64)
    for position, outputs in _activations(model, names, dataset):
        for tensor, values in enumerate(outputs):
            for repeat in range(repeats):
                present = numbers[repeat, position]
                for fold in np.unique(present):
                    cell = (repeat, int(fold), tensor)
                    _count(low, high, counts, cell, values[present == fold])
    return HistogramStatistics(RangeStatistics(names, low, high), counts)


def _count(
    low: NDArray[np.float32],
    high: NDArray[np.float32],
    counts: Counts,
    cell: tuple[int, int, int],
    values: NDArray[np.float32],
) -> None:
    """Add values to one tensor's histogram, on a wider grid where they need one."""
    before = _grid(low[cell], high[cell])
    low[cell], high[cell] = np.minimum(low[cell], values.min()), np.maximum(high[cell], values.max())
    if not np.isfinite([low[cell], high[cell]]).all():
        return  # whoever asks for this fold is refused
    grid = _grid(low[cell], high[cell])
    if grid != before:
        counts[cell] = _regrid(counts[cell], before, grid)
    width, zero = grid
    # float64: float32 would round the smallest negative values up to zero, into the bin above their own
    scaled = np.multiply(values.ravel(), 2.0**-width, dtype=np.float64)
    bins = np.floor(scaled, out=scaled).astype(np.intp)
    counts[cell] += np.bincount(bins + zero, minlength=BINS)


def _grid(minimum: np.floating, maximum: np.floating) -> tuple[int, int]:
    """The exponent of a histogram's bin width, and the number of the bin that begins at zero."""
    largest = max(abs(float(minimum)), abs(float(maximum)))
    exponent = max(int(np.frexp(largest)[1]), _LEAST_EXPONENT) if np.isfinite(largest) else _LEAST_EXPONENT
    signed = int(minimum < 0)
    return exponent + signed - (BINS.bit_length() - 1), signed * BINS // 2


def _regrid(counts: Counts, before: tuple[int, int], after: tuple[int, int]) -> Counts:
    """The same counts on a grid of wider bins, [BINS]; a right shift is division by a power of two, rounded down."""
    bins = ((np.arange(BINS) - before[1]) >> min(after[0] - before[0], BINS.bit_length())) + after[1]
    wider = np.zeros_like(counts)
    occupied = counts > 0
    np.add.at(wider, bins[occupied], counts[occupied])
    return wider


def _on_grid_of(ranges: Ranges, histograms: Histograms) -> Counts:
    """Counts of every tensor on the grid of `ranges`, which contain the histograms' own, [T, BINS]."""
    own, wider = histograms.ranges, histograms.counts.copy()
    for tensor in range(len(wider)):
        before = _grid(own.minimum[tensor], own.maximum[tensor])
        after = _grid(ranges.minimum[tensor], ranges.maximum[tensor])
        if before != after:
            wider[tensor] = _regrid(wider[tensor], before, after)
    return wider


def _activations(
    model: ir.Model, names: tuple[str, ...], dataset: Dataset
) -> Iterator[tuple[Indices, list[NDArray[np.float32]]]]:
    """Sample positions, with every tensor's values, each [n, V]."""
    size = _BATCH if keeps_samples_apart(model, names) else 1
    session = open_session(_fetching(model, names, one_by_one=size == 1))
    steps = -(-len(dataset) // size)
    for position, feed in track(filled_batches(dataset, size), "calibrating", steps):
        yield position, [values[: len(position)] for values in run(session, feed)[-len(names) :]]


def _fetching(model: ir.Model, names: tuple[str, ...], *, one_by_one: bool) -> ir.Model:
    """The graph with, after its own outputs, the values of every tensor, each [N, V]."""
    model = copy_graph(model)
    values = values_by_name(model)
    for name in names:
        # From axis 0 on, everything is one row: a whole tensor belongs to the one sample.
        flat = ir.node("Flatten", [values[name]], {"axis": 0 if one_by_one else 1})
        model.graph.append(flat)
        fetched = flat.outputs[0]
        fetched.name, fetched.type, fetched.shape = (
            f"foldpress_values_{name}",
            values[name].type,
            ir.Shape([None, None]),
        )
        model.graph.outputs.append(fetched)
    return model
