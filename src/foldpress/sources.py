"""Reading data: an .npz, a folder of .npy, or a callable beside the recipe."""

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from foldpress.callables import load_callable
from foldpress.data import Array, Dataset
from foldpress.errors import DataError

_TARGETS, _GROUPS = "y", "group"


def read_data(source: str, folder: Path) -> Dataset:
    """The data set that `source` names: `file.npz`, a folder of .npy files, or `module:callable`.

    Paths are relative to `folder`, and modules are found there. Nothing is ever unpickled.

    Raises:
        DataError: no such file, or not a data set.
        ModelError: the callable raised.
    """
    path = folder / Path(source).expanduser()
    if path.is_dir():
        return as_dataset({file.stem: _read_array(file) for file in sorted(path.glob("*.npy"))})
    if path.is_file():
        return as_dataset(_read_npz(path))
    if ":" in source:
        return as_dataset(load_callable(source, folder)())
    raise DataError(
        f"there is no data file or folder {path}",
        available=", ".join(sorted(found.name for found in folder.glob("*.npz"))) or "no .npz there",
        mend="name an .npz, a folder of .npy files, or module:callable",
    )


def as_dataset(value: Any) -> Dataset:
    """Make a data set of a Dataset, a pair (inputs, targets), a mapping, or a torch Dataset.

    Raises:
        DataError: it is none of these.
    """
    if isinstance(value, Dataset):
        return value
    if isinstance(value, Mapping):
        return _from_mapping(value)
    if isinstance(value, tuple) and len(value) == 2:
        inputs, targets = value
        named = inputs if isinstance(inputs, Mapping) else {"x": inputs}
        return Dataset(_numeric(named), *_numeric({_TARGETS: targets}).values())
    if hasattr(value, "__getitem__") and hasattr(value, "__len__") and not hasattr(value, "dtype"):
        return _from_items([value[index] for index in range(len(value))])
    raise DataError(
        f"cannot make a data set of {type(value).__name__}",
        available="foldpress.Dataset, a pair (inputs, targets), a mapping of arrays, a torch Dataset",
    )


def _from_mapping(arrays: Mapping[str, Any]) -> Dataset:
    numeric = _numeric(arrays)
    targets, groups = numeric.pop(_TARGETS, None), numeric.pop(_GROUPS, None)
    return Dataset(numeric, targets, groups)


def _from_items(items: list[Any]) -> Dataset:
    """Stack the items of a torch Dataset: mappings, or pairs (input, target)."""
    if not items:
        raise DataError("the data hold no sample")
    if isinstance(items[0], Mapping):
        return _from_mapping({name: np.stack([np.asarray(item[name]) for item in items]) for name in items[0]})
    if isinstance(items[0], tuple | list) and len(items[0]) == 2:
        first, second = zip(*items, strict=True)
        return as_dataset(
            (np.stack([np.asarray(one) for one in first]), np.asarray([np.asarray(one) for one in second]))
        )
    raise DataError(
        f"an item of the data is a {type(items[0]).__name__}", available="a pair (input, target), a mapping"
    )


def _numeric(arrays: Mapping[str, Any]) -> dict[str, Array]:
    found = {name: value if isinstance(value, np.ndarray) else np.asarray(value) for name, value in arrays.items()}
    for name, array in found.items():
        if array.dtype.kind not in "biufUS" or (array.dtype.kind in "US" and name != _GROUPS):
            raise DataError(
                f"array {name} holds {array.dtype} values; numbers are expected", mend="convert it to a numeric type"
            )
    return found


def _read_npz(path: Path) -> dict[str, Array]:
    try:
        with path.open("rb") as stream:
            archive = np.load(stream, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise DataError(f"{path} is a single array, not an .npz", mend="np.savez(file, x=…, y=…)")
            return {name: _unpickled(path, name, lambda name=name: archive[name]) for name in archive.files}
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, KeyError, RuntimeError) as error:
        raise DataError(f"{path} cannot be read as an .npz: {error}", mend="write it with np.savez") from error
    except ValueError as error:
        # NumPy's own message would advise to unpickle it.
        raise DataError(f"{path} is not an .npz, or is damaged", mend="write it with np.savez") from error


def _read_array(path: Path) -> Array:
    try:
        return np.asanyarray(_unpickled(path, path.stem, lambda: np.load(path, mmap_mode="r", allow_pickle=False)))
    except (EOFError, OSError) as error:
        raise DataError(f"{path} cannot be read as .npy: {error}", mend="write it with np.save") from error


def _unpickled(path: Path, name: str, read: Any) -> Array:
    try:
        return read()  # type: ignore[no-any-return]
    except ValueError as error:
        if "pickle" not in str(error).lower() and "object" not in str(error).lower():
            raise DataError(f"{path}: array {name} is damaged: {error}") from error
        raise DataError(
            f"{path}: array {name} holds Python objects, which are never unpickled (they can run code)",
            mend="save plain numbers: np.savez(file, x=np.stack(list_of_arrays))",
        ) from error
