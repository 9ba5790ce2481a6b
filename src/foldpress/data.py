"""Data sets, folds, and the proof that no sample stands on both sides of a split."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foldpress.errors import DataError, LeakageError

Array = NDArray[Any]
Indices = NDArray[np.intp]

_NAMED_AT_MOST = 5  # samples that a message names before it only counts
_ALL_ROWS: Indices = np.empty(0, np.intp)


@dataclass(frozen=True, eq=False)
class Dataset:
    """Inputs by name, with optional targets and groups. The first axis of every array counts samples.

    Arrays may be memory-mapped: a selection keeps row numbers and copies nothing.

    Raises:
        DataError: no input, unequal lengths, or an array without a first axis.
    """

    inputs: Mapping[str, Array]
    targets: Array | None = None
    groups: Array | None = None
    rows: Indices = field(default_factory=lambda: _ALL_ROWS, repr=False)

    def __post_init__(self) -> None:
        if not self.inputs:
            raise DataError("the data hold no input array", mend="add one array for each input of the graph")
        lengths = {name: len(array) if np.ndim(array) else None for name, array in self._arrays()}
        if None in lengths.values() or len(set(lengths.values())) > 1:
            shown = ", ".join(
                f"{name}: {length if length is not None else 'a scalar'}" for name, length in lengths.items()
            )
            raise DataError(f"arrays of unequal length ({shown})", mend="the first axis of every array counts samples")
        if self.rows is _ALL_ROWS:
            object.__setattr__(self, "rows", np.arange(next(iter(lengths.values())) or 0))
        if not len(self.rows):
            raise DataError("the data hold no sample")

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def y(self) -> Array:
        """Targets of the selected rows, [N, …].

        Raises:
            DataError: the data have none.
        """
        if self.targets is None:
            raise DataError("the data have no targets", mend="add them as the array `y`")
        return np.asarray(self.targets[self.rows])

    @property
    def group(self) -> Array | None:
        """Group of each selected row, [N], or None."""
        return None if self.groups is None else np.asarray(self.groups[self.rows])

    def batch(self, indices: Indices | slice) -> dict[str, Array]:
        """The inputs of some samples, by name, each [n, …] and contiguous."""
        rows = self.rows[indices]
        return {name: np.ascontiguousarray(array[rows]) for name, array in self.inputs.items()}

    def batches(self, size: int) -> Iterator[dict[str, Array]]:
        """The inputs in order, `size` samples at a time; the last batch may be shorter."""
        for start in range(0, len(self), size):
            yield self.batch(slice(start, start + size))

    def select(self, indices: Indices) -> "Dataset":
        """A view of some samples. Copies no input."""
        return Dataset(self.inputs, self.targets, self.groups, self.rows[indices])

    def renamed(self, names: Mapping[str, str]) -> "Dataset":
        """The same data with inputs called by other names."""
        inputs = {names.get(name, name): array for name, array in self.inputs.items()}
        return Dataset(inputs, self.targets, self.groups, self.rows)

    def digests(self) -> list[bytes]:
        """16 bytes for each sample, that change with any value of any input, and with nothing else."""
        names = sorted(self.inputs)
        described = repr([(name, self.inputs[name].dtype.str, self.inputs[name].shape[1:]) for name in names]).encode()
        return [_digest(described, [self.inputs[name][row] for name in names]) for row in self.rows]

    def fingerprint(self) -> str:
        """One hexadecimal digest of all samples, their targets and groups, in order."""
        total = hashlib.sha256(b"".join(self.digests()))
        for array in (self.targets, self.group):
            if array is not None:
                chosen = np.asarray(array[self.rows] if array is self.targets else array)
                total.update(repr((chosen.dtype.str, chosen.shape)).encode() + np.ascontiguousarray(chosen).tobytes())
        return total.hexdigest()

    def _arrays(self) -> Iterator[tuple[str, Array]]:
        yield from self.inputs.items()
        yield from ((name, array) for name, array in (("y", self.targets), ("group", self.groups)) if array is not None)


def _digest(described: bytes, arrays: list[Array]) -> bytes:
    total = hashlib.blake2b(described, digest_size=16)
    for array in arrays:
        total.update(np.ascontiguousarray(array).tobytes())
    return total.digest()


@dataclass(frozen=True)
class InputSpec:
    """What a graph or model wants of one input: its name, element type and shape; None stands for any length."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int | None, ...]

    def __str__(self) -> str:
        return f"{self.name}: {self.dtype} [{', '.join('N' if size is None else str(size) for size in self.shape)}]"


def fit_inputs(dataset: Dataset, specs: list[InputSpec]) -> Dataset:
    """The data under the graph's input names, after their names, types, shapes and values were checked.

    With one input and one array, the array's name does not matter.

    Raises:
        DataError: names the array, the index where there is one, and what was expected.
    """
    wanted = [spec.name for spec in specs]
    if len(specs) == 1 and len(dataset.inputs) == 1:
        dataset = dataset.renamed({next(iter(dataset.inputs)): wanted[0]})
    missing, extra = sorted(set(wanted) - set(dataset.inputs)), sorted(set(dataset.inputs) - set(wanted))
    if missing or extra:
        raise DataError(
            f"the arrays do not match the graph's inputs (missing: {missing or 'none'}; not inputs: {extra or 'none'})",
            available="; ".join(map(str, specs)),
            mend="name each array after an input; `y` holds targets, `group` groups",
        )
    for spec in specs:
        _check_array(dataset, spec)
    return dataset


def _check_array(dataset: Dataset, spec: InputSpec) -> None:
    array = dataset.inputs[spec.name]
    if array.dtype != spec.dtype:
        raise DataError(
            f"array {spec.name} is {array.dtype}, the graph wants {spec}", mend=f".astype({str(spec.dtype)!r})"
        )
    expected = spec.shape[1:]
    fits = len(expected) == array.ndim - 1 and all(
        want in (None, have) for want, have in zip(expected, array.shape[1:], strict=True)
    )
    if not fits:
        raise DataError(f"array {spec.name} has shape {list(array.shape)}, the graph wants {spec}")
    check_finite(spec.name, array)


def check_finite(name: str, array: Array, rows_at_once: int = 1024) -> None:
    """Refuse NaN and infinity, reading a memory-mapped array piece by piece.

    Raises:
        DataError: names the array and the first index.
    """
    if array.dtype.kind not in "fc":
        return
    for start in range(0, len(array), rows_at_once):
        wrong = np.argwhere(~np.isfinite(array[start : start + rows_at_once]))
        if len(wrong):
            index = [int(wrong[0][0]) + start, *map(int, wrong[0][1:])]
            value = array[tuple(index)]
            raise DataError(
                f"array {name} holds {value} at index {index}; every value must be finite",
                mend="remove or repair that sample",
            )


def check_disjoint(parts: Mapping[str, Dataset]) -> None:
    """Prove by content that no sample stands in two parts.

    Raises:
        LeakageError: names the two parts and the samples, by their row in the source.
    """
    seen: dict[bytes, tuple[str, int]] = {}
    clashes: list[str] = []
    for part, dataset in parts.items():
        for row, digest in zip(dataset.rows, dataset.digests(), strict=True):
            other, other_row = seen.setdefault(digest, (part, int(row)))
            if other != part:
                clashes.append(f"{other} sample {other_row} = {part} sample {row}")
    if clashes:
        more = f" and {len(clashes) - _NAMED_AT_MOST} more" if len(clashes) > _NAMED_AT_MOST else ""
        raise LeakageError(
            f"{len(clashes)} samples stand on two sides of a split: {'; '.join(clashes[:_NAMED_AT_MOST])}{more}",
            mend="remove the duplicates, or give them one group and use scheme = 'group'",
        )
