"""Mean inputs of layers by channel, by fold: all that bias correction needs to know of the data. Sums merge by addition."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from foldpress.data import Dataset, Indices
from foldpress.optimizer.activations import BUDGET_BYTES, observe
from foldpress.optimizer.layers import Layer

Means = dict[str, NDArray[np.float64]]


@dataclass(frozen=True, eq=False)
class MeanStatistics:
    """For every layer, by name: the sum of the samples' means, [repeats, folds, C]; and samples, [repeats, folds]."""

    sums: Means
    samples: NDArray[np.intp]

    def without(self, fold: int, repeat: int = 0) -> Means:
        """The mean of each channel over every fold but one."""
        return self._merged(repeat, [k for k in range(self.samples.shape[1]) if k != fold])

    def all(self) -> Means:
        """The mean of each channel over all folds."""
        return self._merged(0, list(range(self.samples.shape[1])))

    def _merged(self, repeat: int, folds: list[int]) -> Means:
        count = self.samples[repeat, folds].sum()
        return {name: total[repeat, folds].sum(0) / count for name, total in self.sums.items()}


def collect_means(
    model: ir.Model, layers: Sequence[Layer], dataset: Dataset, numbers: Indices, *, budget: int = BUDGET_BYTES
) -> MeanStatistics:
    """One pass over the data.

    Args:
        model: a float graph with shapes inferred.
        layers: layers of that graph.
        dataset: calibration samples.
        numbers: fold number of each sample in each repeat, [repeats, N].
        budget: bytes of activations at once, at most.
    """
    readers = defaultdict(list)
    for layer in layers:
        readers[str(layer.input.name)].append(layer)
    names = tuple(readers)
    sums: Means = {}
    folds = int(numbers.max()) + 1
    for tensor, position, values in observe(model, names, dataset, np.arange(len(dataset)), budget=budget):
        for layer in readers[names[tensor]]:
            means = _means(values, layer.channel_axis, len(position))
            total = sums.setdefault(layer.name, np.zeros((len(numbers), folds, means.shape[1])))
            for repeat, fold_of in enumerate(numbers[:, position]):
                np.add.at(total[repeat], fold_of, means)
    counts = [np.bincount(fold_of, minlength=folds) for fold_of in numbers]
    return MeanStatistics(sums, np.stack(counts))


def _means(values: NDArray[np.float32], axis: int, samples: int) -> NDArray[np.float64]:
    """The mean of each channel over all places of each sample, [n, C]."""
    last = np.moveaxis(values, axis, -1)
    found: NDArray[np.float64] = last.reshape(samples, -1, last.shape[-1]).mean(1, dtype=np.float64)
    return found
