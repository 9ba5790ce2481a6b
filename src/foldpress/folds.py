"""Folds: one array of fold numbers over the development part, and a test split that stays sealed."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from foldpress.data import Array, Dataset, Indices, check_disjoint
from foldpress.errors import DataError, LeakageError
from foldpress.identity import Identity, identify
from foldpress.schemes import UNREPEATED, Scheme
from foldpress.splitting import check_counts, fold_numbers, test_split


class SealedTest:
    """The test split. It opens for one artifact only, so no choice can be made by looking at it twice."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self.opened_for: str | None = None

    def __len__(self) -> int:
        return len(self._dataset)

    def census(self, *, grouped: bool) -> tuple[Array, Identity]:
        """Targets and identities, [n], by which one can tell whether they are enough; nothing can be chosen by them."""
        return self._dataset.y, identify(self._dataset, grouped=grouped)

    def open(self, artifact_sha256: str) -> Dataset:
        """The test samples, for judging the finished artifact with this digest.

        Raises:
            LeakageError: they were opened for another artifact before.
        """
        if self.opened_for not in (None, artifact_sha256):
            raise LeakageError(
                "the test split was already opened for another artifact; judging a second one on it would be choosing",
                mend="compare candidates on the folds, and open the test split once, for the last",
            )
        self.opened_for = artifact_sha256
        return self._dataset


@dataclass(frozen=True, eq=False)
class Folds:
    """Fold numbers of the development samples, [repeats, N], each in 0 … splits − 1, and the sealed test split.

    A single fold cannot be left out: there are no rounds then, and the test split is all that is judged.
    """

    development: Dataset
    numbers: Indices
    test: SealedTest

    @property
    def splits(self) -> int:
        """How many folds each repeat has."""
        return int(self.numbers.max()) + 1

    @property
    def parts(self) -> Indices:
        """By which numbers calibration samples are drawn, about as many from each, [repeats, N]."""
        return self.numbers

    def rounds(self) -> Iterator[tuple[int, int]]:
        """Every (repeat, fold): one round of leaving a fold out."""
        folds = range(self.splits) if self.splits > 1 else ()
        return ((repeat, fold) for repeat in range(len(self.numbers)) for fold in folds)

    def left_out(self, repeat: int, fold: int) -> tuple[int, int]:
        """The number that calibration leaves out in this round, and the row of `numbers` that has it."""
        return fold, repeat

    def held_out(self, repeat: int, fold: int) -> Indices:
        """Development samples of one fold."""
        return np.flatnonzero(self.numbers[repeat] == fold)

    def calibration(self, repeat: int, fold: int) -> Indices:
        """Development samples of all other folds."""
        return np.flatnonzero(self.numbers[repeat] != fold)

    def training(self, repeat: int, fold: int) -> "Folds":
        """The samples that a round may learn from, as one fold. The test split stays as sealed as it is."""
        return one_fold(self.development.select(self.calibration(repeat, fold)), self.test)


@dataclass(frozen=True, eq=False)
class PastFolds(Folds):
    """Folds in time: each is judged by what was learned from the samples before it, and from none after.

    Leaving a fold out is a merge of the others, so every round has a row of `numbers` of its own, [splits, N]: 0 is the past,
    and 1, the fold itself and all that comes after, is left out. `blocks` [N] counts from 0, which is only learned from.
    """

    blocks: Indices

    @property
    def splits(self) -> int:
        """How many folds are judged."""
        return len(self.numbers)

    @property
    def parts(self) -> Indices:
        """Samples are drawn about equally from each block, so that every round has some."""
        return self.blocks[None]

    def rounds(self) -> Iterator[tuple[int, int]]:
        """Every (0, fold), in time."""
        return ((0, fold) for fold in range(self.splits))

    def left_out(self, repeat: int, fold: int) -> tuple[int, int]:  # noqa: ARG002  # there is one repeat
        """The fold itself and all that comes after."""
        return 1, fold

    def held_out(self, repeat: int, fold: int) -> Indices:  # noqa: ARG002  # there is one repeat
        """The block after the past of this round."""
        return np.flatnonzero(self.blocks == fold + 1)

    def calibration(self, repeat: int, fold: int) -> Indices:  # noqa: ARG002  # there is one repeat
        """The past."""
        return np.flatnonzero(self.blocks <= fold)


def one_fold(dataset: Dataset, test: SealedTest) -> Folds:
    """Samples that are all learned from: there is no round to judge."""
    return Folds(dataset, np.zeros((1, len(dataset)), np.intp), test)


def make_folds(
    dataset: Dataset,
    *,
    splits: int = 5,
    scheme: Scheme = "stratified",
    repeats: int = 1,
    test: float = 0.2,
    seed: int = 0,
) -> Folds:
    """Keep a test split apart, and number the folds of the rest, by scikit-learn's splitters.

    Args:
        dataset: for "time-series" in the order of time.
        splits: how many folds; "leave-one-group-out" has one for each group, and "holdout" none.
        scheme: which samples stay together, and what may be learned from.
        repeats: how often the folds are drawn, where they are drawn at all.
        test: share of the samples in the test split; of the groups, where they are kept whole.
        seed: of every draw.

    Raises:
        DataError: too few samples, a class or too few groups for the folds, no targets or groups where they are needed, or
            repeats of what is not drawn.
        LeakageError: the same content on both sides of a split.
    """
    if repeats > 1 and scheme in UNREPEATED:
        raise DataError(
            f"scheme = {scheme!r} has nothing to repeat: no part of it is drawn", mend="[folds] repeats = 1"
        )
    check_counts(dataset, splits, scheme)
    kept, tested = test_split(dataset, scheme, test, seed)
    development, sealed = dataset.select(kept), SealedTest(dataset.select(tested))
    check_counts(development, splits, scheme)
    numbers = np.stack([fold_numbers(development, splits, scheme, seed + repeat) for repeat in range(repeats)])
    for repeat in numbers:
        parts = {f"fold {fold}": development.select(np.flatnonzero(repeat == fold)) for fold in np.unique(repeat)}
        check_disjoint({**parts, "test": dataset.select(tested)})
    if scheme != "time-series":
        return Folds(development, numbers, sealed)
    blocks = numbers[0]
    return PastFolds(development, np.stack([(blocks > fold).astype(np.intp) for fold in range(splits)]), sealed, blocks)
