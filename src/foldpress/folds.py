"""Folds: one array of fold numbers over the development part, and a test split that stays sealed."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from sklearn.model_selection import (
    GroupKFold,
    GroupShuffleSplit,
    KFold,
    ShuffleSplit,
    StratifiedGroupKFold,
    StratifiedKFold,
    StratifiedShuffleSplit,
)

from foldpress.data import Array, Dataset, Indices, check_disjoint
from foldpress.errors import DataError, LeakageError

Scheme = Literal["kfold", "stratified", "group", "stratified-group"]

_SPLITTERS: dict[str, Any] = {
    "kfold": KFold,
    "stratified": StratifiedKFold,
    "group": GroupKFold,
    "stratified-group": StratifiedGroupKFold,
}


class SealedTest:
    """The test split. It opens for one artifact only, so no choice can be made by looking at it twice."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self.opened_for: str | None = None

    def __len__(self) -> int:
        return len(self._dataset)

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
    """Fold numbers of the development samples, [repeats, N], each in 0 … splits − 1, and the sealed test split."""

    development: Dataset
    numbers: Indices
    test: SealedTest

    @property
    def splits(self) -> int:
        """How many folds each repeat has."""
        return int(self.numbers.max()) + 1

    def rounds(self) -> Iterator[tuple[int, int]]:
        """Every (repeat, fold): one round of leaving a fold out."""
        return ((repeat, fold) for repeat in range(len(self.numbers)) for fold in range(self.splits))

    def held_out(self, repeat: int, fold: int) -> Indices:
        """Development samples of one fold."""
        return np.flatnonzero(self.numbers[repeat] == fold)

    def calibration(self, repeat: int, fold: int) -> Indices:
        """Development samples of all other folds."""
        return np.flatnonzero(self.numbers[repeat] != fold)


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

    Raises:
        DataError: too few samples, a class or too few groups for the folds, no targets or groups where they are needed.
        LeakageError: the same content on both sides of a split.
    """
    _check_counts(dataset, splits, scheme)
    kept, tested = _test_split(dataset, scheme, test, seed)
    development = dataset.select(kept)
    _check_counts(development, splits, scheme)
    numbers = np.stack([_number(development, splits, scheme, seed + repeat) for repeat in range(repeats)])
    for repeat in numbers:
        parts = {f"fold {fold}": development.select(np.flatnonzero(repeat == fold)) for fold in range(splits)}
        check_disjoint({**parts, "test": dataset.select(tested)})
    return Folds(development, numbers, SealedTest(dataset.select(tested)))


def _strata(dataset: Dataset, scheme: Scheme) -> Array | None:
    return dataset.y if scheme.startswith("stratified") else None


def _groups(dataset: Dataset, scheme: Scheme) -> Array | None:
    """The groups, where the scheme keeps them whole: the others' splitters would warn that they ignore them."""
    return dataset.group if scheme.endswith("group") else None


def _check_counts(dataset: Dataset, splits: int, scheme: Scheme) -> None:
    if len(dataset) < splits:
        raise DataError(
            f"{len(dataset)} samples cannot be divided into {splits} folds",
            mend="give more data, or lower [folds] splits",
        )
    strata = _strata(dataset, scheme)
    if strata is not None:
        if strata.dtype.kind not in "iub" or strata.ndim != 1:
            raise DataError("a stratified scheme needs integer class labels", available="scheme = 'kfold' or 'group'")
        classes, counts = np.unique(strata, return_counts=True)
        few = [f"{label} ({count})" for label, count in zip(classes, counts, strict=True) if count < splits]
        if few:
            raise DataError(
                f"classes with fewer members than the {splits} folds: {', '.join(few)}",
                mend="add samples of them, lower [folds] splits, or use scheme = 'kfold'",
            )
    if scheme.endswith("group"):
        groups = dataset.group
        count = 0 if groups is None else len(np.unique(groups))
        if count < splits:
            raise DataError(
                f"scheme = {scheme!r} with {splits} folds needs as many groups; the data have {count}",
                mend="add the array `group`, one entry a sample, or lower [folds] splits",
            )


def _test_split(dataset: Dataset, scheme: Scheme, share: float, seed: int) -> tuple[Indices, Indices]:
    rows = np.arange(len(dataset))
    if scheme == "stratified-group":  # no shuffle-split exists for both; one fold of about the right size serves
        splitter: Any = StratifiedGroupKFold(max(2, round(1 / share)), shuffle=True, random_state=seed)
    else:
        kinds = {"kfold": ShuffleSplit, "stratified": StratifiedShuffleSplit, "group": GroupShuffleSplit}
        splitter = kinds[scheme](1, test_size=share, random_state=seed)
    try:
        kept, tested = next(splitter.split(rows, _strata(dataset, scheme), _groups(dataset, scheme)))
    except ValueError as error:
        raise DataError(f"no test split of {share:.0%} can be made: {error}", mend="change [folds] test") from error
    return np.sort(kept), np.sort(tested)


def _number(dataset: Dataset, splits: int, scheme: Scheme, seed: int) -> Indices:
    numbers = np.empty(len(dataset), np.intp)
    splitter = _SPLITTERS[scheme](splits, shuffle=True, random_state=seed)
    for fold, (_, held_out) in enumerate(
        splitter.split(np.arange(len(dataset)), _strata(dataset, scheme), _groups(dataset, scheme))
    ):
        numbers[held_out] = fold
    return numbers
