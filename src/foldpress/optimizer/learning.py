"""All that static int8 learns from calibration samples: ranges or histograms of tensors, Gram matrices and means of layers."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foldpress.optimizer.gram import GramStatistics
from foldpress.optimizer.histogram import Histograms, HistogramStatistics
from foldpress.optimizer.means import Means, MeanStatistics
from foldpress.optimizer.statistics import Ranges, RangeStatistics

Grams = dict[str, NDArray[np.float64]]


@dataclass(frozen=True, eq=False)
class Learned:
    """What one round has learned: statistics of tensors and of single channels, G and E[x] of every layer that needs them."""

    found: Ranges | Histograms
    grams: Grams
    means: Means


@dataclass(frozen=True, eq=False)
class Learning:
    """What all rounds learn from, by fold."""

    found: RangeStatistics | HistogramStatistics
    grams: GramStatistics
    means: MeanStatistics

    @property
    def ranges(self) -> RangeStatistics:
        """The extremes of every tensor."""
        return self.found.ranges if isinstance(self.found, HistogramStatistics) else self.found

    def without(self, fold: int, repeat: int = 0) -> Learned:
        """What every fold but one says.

        Raises:
            GraphError: a tensor overflows on calibration samples.
        """
        return Learned(
            self.found.without(fold, repeat), self.grams.without(fold, repeat), self.means.without(fold, repeat)
        )

    def all(self) -> Learned:
        """What all folds say.

        Raises:
            GraphError: a tensor overflows on calibration samples.
        """
        return Learned(self.found.all(), self.grams.all(), self.means.all())

    def merge(self, other: "Learning") -> "Learning":
        """Fold by fold, what the samples of both say; tensors, layers and repeats must be the same."""
        found = self.found.merge(other.found)  # type: ignore[arg-type]  # both are of one kind
        return Learning(found, self.grams.merge(other.grams), self.means.merge(other.means))
