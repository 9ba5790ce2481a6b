"""Which test samples changed their prediction, those first that were right before."""

from dataclasses import dataclass

import numpy as np

from foldpress.benchmark.evidence import Paired
from foldpress.data import Indices

SHOWN_AT_MOST = 24


@dataclass(frozen=True)
class Flip:
    """One sample of the test split, by its row in the data, with its target and both predictions, all class indices."""

    sample: int
    target: int
    baseline: int
    artifact: int

    @property
    def meaning(self) -> str:
        """What the change did."""
        if self.baseline == self.target:
            return "lost"
        return "mended" if self.artifact == self.target else "wrong before and after"


def flipped(test: Paired) -> Indices:
    """Rows of the table whose predicted class changed: lost, then mended, then wrong either way; [F].

    Predictions that are no single class a sample, such as real numbers, do not flip.
    """
    if test.baseline.ndim != 1 or {test.baseline.dtype.kind, test.artifact.dtype.kind} - set("iub"):
        return np.empty(0, np.intp)
    changed = np.flatnonzero(test.baseline != test.artifact)
    lost, mended = (guess[changed] == test.target[changed] for guess in (test.baseline, test.artifact))
    return changed[np.argsort(np.where(lost, 0, np.where(mended, 1, 2)), kind="stable")]


def flips(test: Paired) -> list[Flip]:
    """Every flip, in that order."""
    columns = (test.sample, test.target, test.baseline, test.artifact)
    return [Flip(*(int(column[row]) for column in columns)) for row in flipped(test)]
