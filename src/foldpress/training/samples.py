"""Labelled and unlabelled samples as one pool, and what of it is trained on."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.model_selection import GroupShuffleSplit, ShuffleSplit, StratifiedShuffleSplit

from foldpress.data import Array, Dataset, Indices
from foldpress.errors import DataError

Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True, eq=False)
class Batch:
    """Some samples; the first of them are labelled.

    Args:
        inputs: by name, each [n, …].
        targets: of the labelled samples, [l, …], l ≤ n; None where there are no targets at all.
        rows: of the pool, [n].
    """

    inputs: Tensors
    targets: torch.Tensor | None
    rows: Indices

    def to(self, device: torch.device) -> "Batch":
        """The same on another device."""
        moved = {name: tensor.to(device) for name, tensor in self.inputs.items()}
        return Batch(moved, None if self.targets is None else self.targets.to(device), self.rows)


@dataclass(frozen=True, eq=False)
class Pool:
    """Labelled samples, and behind them unlabelled ones with the same inputs.

    Raises:
        DataError: the inputs are not the same.
    """

    labelled: Dataset
    unlabelled: Dataset | None = None

    def __post_init__(self) -> None:
        first, second = ({name: (array.dtype, array.shape[1:]) for name, array in one.inputs.items()}
                         for one in (self.labelled, self.unlabelled or self.labelled))  # fmt: skip
        if first != second:
            raise DataError(f"unlabelled inputs {second} are not like the labelled ones", available=str(first))

    def __len__(self) -> int:
        return len(self.labelled) + (0 if self.unlabelled is None else len(self.unlabelled))

    def batch(self, rows: Indices) -> Batch:
        """These samples, those with labels first, in the order of `rows` otherwise."""
        known, unknown = rows[rows < len(self.labelled)], rows[rows >= len(self.labelled)] - len(self.labelled)
        arrays = self.labelled.batch(known)
        if self.unlabelled is not None:
            more = self.unlabelled.batch(unknown)
            arrays = {name: np.concatenate([array, more[name]]) for name, array in arrays.items()}
        given = self.labelled.targets
        targets = None if given is None else _as_tensor(given[self.labelled.rows[known]])
        inputs = {name: _as_tensor(array) for name, array in arrays.items()}
        return Batch(inputs, targets, np.concatenate([known, unknown + len(self.labelled)]))

    def batches(self, rows: Indices, size: int) -> Iterator[Batch]:
        """These samples in about equal batches of at most `size`."""
        return (self.batch(part) for part in np.array_split(rows, steps(len(rows), size)))


def steps(count: int, size: int) -> int:
    """How many batches of at most `size` it takes."""
    return max(1, -(-count // size))


def hold_back(pool: Pool, share: float, seed: int) -> tuple[Indices, Indices]:
    """Rows to train on, and labelled rows to stop by; groups stay whole, and classes keep their shares where they can.

    Raises:
        DataError: too few samples, or groups, for that.
    """
    rows = np.arange(len(pool))
    if not share:
        return rows, np.empty(0, np.intp)
    labelled = pool.labelled
    strata = None if labelled.targets is None else _strata(labelled.y)
    try:
        splitter = _splitter(labelled, strata)(1, test_size=share, random_state=seed)
        _, held = next(splitter.split(np.arange(len(labelled)), strata, labelled.group))
    except ValueError as error:
        raise DataError(
            f"{share:.0%} of {len(labelled)} training samples cannot be held back: {error}", mend="held_back = 0"
        ) from error
    return np.setdiff1d(rows, held), np.sort(held)


def _splitter(labelled: Dataset, strata: Array | None) -> Any:
    if labelled.group is not None:
        return GroupShuffleSplit
    return ShuffleSplit if strata is None else StratifiedShuffleSplit


def _strata(targets: Array) -> Array | None:
    """Class labels of which each occurs more than once."""
    if targets.dtype.kind not in "iub" or targets.ndim != 1:
        return None
    return targets if np.unique(targets, return_counts=True)[1].min() > 1 else None


def _as_tensor(array: Array) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(array))
