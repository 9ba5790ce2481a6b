"""What a sample counts as: a copy of another says nothing new, and those of one group may err together."""

from dataclasses import dataclass

import numpy as np

from foldpress.data import Dataset, Indices


@dataclass(frozen=True, eq=False)
class Identity:
    """What each of n samples is counted as: `sample` is the row of the first of equal content, `group` what may err together.

    A copy of a sample says nothing that the sample did not.
    """

    sample: Indices
    group: Indices

    def at(self, rows: Indices) -> "Identity":
        """The same of some samples."""
        return Identity(self.sample[rows], self.group[rows])


def identify(dataset: Dataset, *, grouped: bool) -> Identity:
    """Tell copies by content, and groups by the data's own, if they are to be kept; else each sample is one."""
    first: dict[bytes, int] = {}
    digests = zip(dataset.digests(), dataset.rows, strict=True)
    sample = np.array([first.setdefault(digest, int(row)) for digest, row in digests], np.intp)
    if not grouped or dataset.group is None:
        return Identity(sample, sample)
    return Identity(sample, np.asarray(np.unique(dataset.group, return_inverse=True)[1]))
