"""Which fold every sample falls into, and which samples are kept for the test, by scikit-learn's splitters."""

from typing import Any

import numpy as np
from sklearn.model_selection import (
    GroupKFold,
    GroupShuffleSplit,
    KFold,
    LeaveOneGroupOut,
    ShuffleSplit,
    StratifiedGroupKFold,
    StratifiedKFold,
    StratifiedShuffleSplit,
    TimeSeriesSplit,
)

from foldpress.data import Array, Dataset, Indices
from foldpress.errors import DataError
from foldpress.schemes import GROUPED, Scheme

_SPLITTERS: dict[str, Any] = {
    "kfold": KFold,
    "stratified": StratifiedKFold,
    "group": GroupKFold,
    "stratified-group": StratifiedGroupKFold,
}


def _strata(dataset: Dataset, scheme: Scheme) -> Array | None:
    return dataset.y if scheme.startswith("stratified") else None


def _groups(dataset: Dataset, scheme: Scheme) -> Array | None:
    """The groups, where the scheme keeps them whole: the others' splitters would warn that they ignore them."""
    return dataset.group if scheme in GROUPED else None


def check_counts(dataset: Dataset, splits: int, scheme: Scheme) -> None:
    """Refuse too few samples, members of a class or groups for so many folds, and targets or groups that are missing.

    Raises:
        DataError: says what there is, and what is needed.
    """
    if scheme == "holdout":
        return
    if len(dataset) < splits + (scheme == "time-series"):
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
    if scheme in GROUPED:
        groups = dataset.group
        count, needed = (
            0 if groups is None else len(np.unique(groups)),
            2 if scheme == "leave-one-group-out" else splits,
        )
        if count < needed:
            raise DataError(
                f"scheme = {scheme!r} with {needed} folds needs as many groups; the data have {count}",
                mend="add the array `group`, one entry a sample, or lower [folds] splits",
            )


def test_split(dataset: Dataset, scheme: Scheme, share: float, seed: int) -> tuple[Indices, Indices]:
    """Rows to develop on, and a share of the rows to test on, each in order.

    Raises:
        DataError: no such split can be made.
    """
    rows = np.arange(len(dataset))
    if scheme == "time-series":  # the latest
        cut = len(rows) - max(1, round(share * len(rows)))
        return rows[:cut], rows[cut:]
    if scheme == "stratified-group":  # no shuffle-split exists for both; one fold of about the right size serves
        splitter: Any = StratifiedGroupKFold(max(2, round(1 / share)), shuffle=True, random_state=seed)
    else:
        kinds = {
            "stratified": StratifiedShuffleSplit,
            "group": GroupShuffleSplit,
            "leave-one-group-out": GroupShuffleSplit,
        }
        splitter = kinds.get(scheme, ShuffleSplit)(1, test_size=share, random_state=seed)
    try:
        kept, tested = next(splitter.split(rows, _strata(dataset, scheme), _groups(dataset, scheme)))
    except ValueError as error:
        raise DataError(f"no test split of {share:.0%} can be made: {error}", mend="change [folds] test") from error
    return np.sort(kept), np.sort(tested)


def fold_numbers(dataset: Dataset, splits: int, scheme: Scheme, seed: int) -> Indices:
    """The fold of every sample; in time, the block, 0 being the one before the first fold."""
    numbers = np.zeros(len(dataset), np.intp)
    if scheme == "holdout":
        return numbers
    rounds = _splitter(splits, scheme, seed).split(
        np.arange(len(dataset)), _strata(dataset, scheme), _groups(dataset, scheme)
    )
    for fold, (_, held_out) in enumerate(rounds, scheme == "time-series"):
        numbers[held_out] = fold
    return numbers


def _splitter(splits: int, scheme: Scheme, seed: int) -> Any:
    if scheme == "leave-one-group-out":
        return LeaveOneGroupOut()
    if scheme == "time-series":
        return TimeSeriesSplit(splits)
    return _SPLITTERS[scheme](splits, shuffle=True, random_state=seed)
