"""Mergeable statistics: the minimum and maximum of every tensor, for every fold, in one pass over the data.

Merging is elementwise minimum and maximum, which is associative and commutative:

    without(k) = merge of the statistics of every fold j ≠ k

so leaving one fold out after another costs one pass, whatever the number of folds.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from foldpress.data import Dataset, Indices
from foldpress.errors import GraphError
from foldpress.optimizer.activations import BUDGET_BYTES
from foldpress.optimizer.one_pass import accumulate


@dataclass(frozen=True, eq=False)
class Ranges:
    """Smallest and largest value of every tensor, each [T], over some samples."""

    tensors: tuple[str, ...]
    minimum: NDArray[np.float32]
    maximum: NDArray[np.float32]

    def merge(self, other: "Ranges") -> "Ranges":
        """The ranges over the samples of both."""
        return Ranges(self.tensors, np.minimum(self.minimum, other.minimum), np.maximum(self.maximum, other.maximum))


@dataclass(frozen=True, eq=False)
class RangeStatistics:
    """Ranges of every fold of every repeat; `minimum` and `maximum` are [repeats, folds, T]."""

    tensors: tuple[str, ...]
    minimum: NDArray[np.float32]
    maximum: NDArray[np.float32]

    def without(self, fold: int, repeat: int = 0) -> Ranges:
        """The ranges over every fold but one: calibration for judging that fold.

        Raises:
            GraphError: a tensor overflows on calibration samples.
        """
        others = [k for k in range(self.minimum.shape[1]) if k != fold]
        return self._merged(repeat, others)

    def all(self) -> Ranges:
        """The ranges over all folds: calibration for the graph that ships."""
        return self._merged(0, list(range(self.minimum.shape[1])))

    def merge(self, other: "RangeStatistics") -> "RangeStatistics":
        """Fold by fold, the ranges over the samples of both; the tensors and repeats must be the same."""
        one, two = self.with_folds(other.minimum.shape[1]), other.with_folds(self.minimum.shape[1])
        return RangeStatistics(self.tensors, np.minimum(one.minimum, two.minimum), np.maximum(one.maximum, two.maximum))

    def with_folds(self, folds: int) -> "RangeStatistics":
        """The same statistics with at least `folds` folds: those behind its own hold no sample."""
        repeats, own, tensors = self.minimum.shape
        low, high = nothing_seen(repeats, max(folds - own, 0), tensors)
        return RangeStatistics(
            self.tensors, np.concatenate([self.minimum, low], 1), np.concatenate([self.maximum, high], 1)
        )

    def _merged(self, repeat: int, folds: Sequence[int]) -> Ranges:
        low, high = self.minimum[repeat, folds].min(0), self.maximum[repeat, folds].max(0)
        empty = low > high  # a tensor without a single element
        low[empty] = high[empty] = 0
        wrong = [name for name, a, b in zip(self.tensors, low, high, strict=True) if not np.isfinite([a, b]).all()]
        if wrong:
            raise GraphError(
                f"no finite range for {', '.join(wrong[:3])}: it overflows float32, or holds NaN, on calibration samples",
                mend="look for exploding activations, or weights that are no numbers",
            )
        return Ranges(self.tensors, low, high)


class RangeAccumulator:
    """Ranges that grow sample by sample.

    Args:
        tensors: names of float tensors.
        numbers: fold number of each sample in each repeat, [repeats, N].
    """

    def __init__(self, tensors: Sequence[str], numbers: Indices) -> None:
        self.tensors, self._numbers = tuple(tensors), numbers
        self._number = {name: number for number, name in enumerate(tensors)}
        self._low, self._high = nothing_seen(len(numbers), int(numbers.max()) + 1, len(tensors))

    def add(self, tensor: str, position: Indices, values: NDArray[np.float32]) -> None:
        """Take in a tensor's values, [n, …], in the samples at these positions, [n]."""
        smallest, largest = extremes(values.reshape(len(position), values.size // len(position)))
        number = self._number[tensor]
        for repeat, fold_of in enumerate(self._numbers[:, position]):
            np.minimum.at(self._low[repeat, :, number], fold_of, smallest)
            np.maximum.at(self._high[repeat, :, number], fold_of, largest)

    def statistics(self) -> RangeStatistics:
        """The ranges of what was added."""
        return RangeStatistics(self.tensors, self._low, self._high)


def collect_ranges(
    model: ir.Model, tensors: Sequence[str], dataset: Dataset, numbers: Indices, *, budget: int = BUDGET_BYTES
) -> RangeStatistics:
    """The ranges of `tensors` of a float graph with shapes inferred, for every fold; see `accumulate`."""
    ranges = RangeAccumulator(tensors, numbers)
    accumulate(model, [ranges], dataset, numbers, budget=budget)
    return ranges.statistics()


def nothing_seen(*shape: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The minima and maxima of no value at all: merging them with others gives the others."""
    return np.full(shape, np.inf, np.float32), np.full(shape, -np.inf, np.float32)


def extremes(rows: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The smallest and the largest value of each row, [n]; 0 is never −0, whichever of the two came first."""
    return rows.min(1, initial=np.inf) + np.float32(0), rows.max(1, initial=-np.inf) + np.float32(0)
