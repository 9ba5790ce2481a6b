"""Calibration samples, and what every round of the k-fold check may look at: a round leaves out one fold, or none."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foldpress.data import Dataset, Indices

_FEW = 8  # samples; ranges do not change how long a graph takes


@dataclass(frozen=True, eq=False)
class Rounds:
    """Samples and their fold numbers, [repeats, N]. A fold of None is no fold: that round sees all."""

    samples: Dataset
    numbers: Indices

    @staticmethod
    def undivided(samples: Dataset) -> "Rounds":
        """All samples in one fold, for a round that has left its fold out already."""
        return Rounds(samples, np.zeros((1, len(samples)), np.intp))

    def seen(self, fold: int | None, repeat: int) -> Dataset:
        """The samples that a round may look at."""
        return self.samples.select(np.flatnonzero(self._sees(fold, repeat)))

    def held_out(self, fold: int, repeat: int) -> Dataset:
        """The samples of one fold."""
        return self.samples.select(np.flatnonzero(self.numbers[repeat] == fold))

    def few(self) -> Dataset:
        """Enough to quantize a graph that is only timed."""
        return self.samples.select(np.arange(min(_FEW, len(self.samples))))

    def halves(self, fold: int | None, repeat: int) -> "Rounds":
        """What a round may look at, in two folds: folds stay whole where they can."""
        sees = self._sees(fold, repeat)
        folds, ranks = np.unique(self.numbers[repeat, sees], return_inverse=True)
        half = ranks % 2 if len(folds) > 1 else np.arange(np.count_nonzero(sees)) % 2
        return Rounds(self.seen(fold, repeat), half[None].astype(np.intp))

    def _sees(self, fold: int | None, repeat: int) -> NDArray[np.bool_]:
        return np.asarray(self.numbers[repeat] != (-1 if fold is None else fold))
