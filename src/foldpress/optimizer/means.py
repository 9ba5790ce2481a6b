"""Mean inputs of layers by channel, by fold: all that bias correction needs to know of the data. Sums merge by addition."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foldpress.data import Indices
from foldpress.optimizer.layers import Layer
from foldpress.optimizer.one_pass import joined_folds

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

    def merge(self, other: "MeanStatistics") -> "MeanStatistics":
        """Fold by fold, the means over the samples of both; layers and repeats must be the same."""
        sums = {name: joined_folds(total, other.sums[name]) for name, total in self.sums.items()}
        return MeanStatistics(sums, joined_folds(self.samples, other.samples))

    def _merged(self, repeat: int, folds: list[int]) -> Means:
        count = self.samples[repeat, folds].sum()
        return {name: total[repeat, folds].sum(0) / count for name, total in self.sums.items()}


class MeanAccumulator:
    """Means that grow sample by sample.

    Args:
        layers: layers of the graph that is observed.
        numbers: fold number of each sample in each repeat, [repeats, N].
    """

    def __init__(self, layers: Sequence[Layer], numbers: Indices) -> None:
        self._layers, self._numbers, self._folds = layers, numbers, int(numbers.max()) + 1
        self._readers = defaultdict(list)
        for layer in layers:
            self._readers[str(layer.input.name)].append(layer)
        self._sums: Means = {}

    @property
    def tensors(self) -> tuple[str, ...]:
        """The layers' inputs."""
        return tuple(self._readers)

    def add(self, tensor: str, position: Indices, values: NDArray[np.float32]) -> None:
        """Take in a tensor's values, [n, …], in the samples at these positions, [n]."""
        for layer in self._readers[tensor]:
            means = _means(values, layer.channel_axis, len(position))
            total = self._sums.setdefault(layer.name, np.zeros((len(self._numbers), self._folds, means.shape[1])))
            for repeat, fold_of in enumerate(self._numbers[:, position]):
                np.add.at(total[repeat], fold_of, means)

    def statistics(self) -> MeanStatistics:
        """The means of what was added."""
        counts = [np.bincount(fold_of, minlength=self._folds) for fold_of in self._numbers]
        return MeanStatistics({layer.name: self._sums[layer.name] for layer in self._layers}, np.stack(counts))


def _means(values: NDArray[np.float32], axis: int, samples: int) -> NDArray[np.float64]:
    """The mean of each channel over all places of each sample, [n, C]."""
    last = np.moveaxis(values, axis, -1)
    found: NDArray[np.float64] = last.reshape(samples, -1, last.shape[-1]).mean(1, dtype=np.float64)
    return found
