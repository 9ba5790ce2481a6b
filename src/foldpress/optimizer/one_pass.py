"""Several statistics from one pass over the data: every tensor that one of them reads is computed once, and handed to each.

A statistic is an accumulator: the names of the tensors that it reads, `add` for their values in some samples, and what came
of it. What it comes to does not depend on which others are collected with it, as long as the same tensors are observed
(see `observe`).
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from foldpress.data import Array, Dataset, Indices
from foldpress.optimizer.activations import BATCH_BYTES, BUDGET_BYTES, observe
from foldpress.optimizer.blas import one_thread


class Accumulator(Protocol):
    """A statistic that grows by the values of tensors in some samples."""

    @property
    def tensors(self) -> Sequence[str]:
        """Names of what it reads."""

    def add(self, tensor: str, position: Indices, values: NDArray[np.float32]) -> None:
        """Take in a tensor's values, [n, …], in the samples at these positions, [n]."""

    def statistics(self) -> Any:
        """What came of all that was added, by fold."""


def accumulate(
    model: ir.Model,
    accumulators: Sequence[Accumulator],
    dataset: Dataset,
    numbers: Indices,
    *,
    label: str = "calibrating",
    batch_bytes: int = BATCH_BYTES,
    budget: int = BUDGET_BYTES,
) -> None:
    """Add the values of every sample to all accumulators, in one pass over the data.

    Args:
        model: a float graph with shapes inferred, which holds every tensor that is read.
        accumulators: what to collect.
        dataset: calibration samples.
        numbers: fold number of each sample in each repeat, [repeats, N].
        label: what progress calls it.
        batch_bytes: of values in a batch of several samples, at most.
        budget: bytes of values at once, at most; more passes over the data where one sample exceeds it.

    Raises:
        GraphError: the graph fails on a batch, or mixes up its samples.
    """
    readers = defaultdict(list)
    for accumulator in accumulators:
        for name in dict.fromkeys(accumulator.tensors):
            readers[name].append(accumulator)
    if not readers:
        return
    names = tuple(readers)
    order = fold_by_fold(numbers)
    observed = observe(model, names, dataset, order, label=label, batch_bytes=batch_bytes, budget=budget)
    with one_thread():  # for Gram matrices
        for tensor, position, values in observed:
            for accumulator in readers[names[tensor]]:
                accumulator.add(names[tensor], position, values)


def fold_by_fold(numbers: Indices) -> Indices:
    """Positions of all samples, [N], those of a fold one after the other, so that most batches are of one fold only.

    To add a batch costs the same for each of its folds, however few of its samples are there.
    """
    _, kind = kinds(numbers)
    return np.argsort(kind, kind="stable")


def kinds(numbers: Indices) -> tuple[Indices, Indices]:
    """The fold numbers that samples share in all repeats, [repeats, kinds], and which of them each sample has, [N]."""
    found, kind = np.unique(numbers, axis=1, return_inverse=True)
    return found, kind


def joined_folds(one: Array, other: Array) -> Array:
    """The sums of two statistics, fold by fold, [repeats, folds, …]; either may have folds that the other has no sample of."""
    large, small = (one, other) if one.shape[1] >= other.shape[1] else (other, one)
    total = np.array(large)
    total[:, : small.shape[1]] += small
    return total
