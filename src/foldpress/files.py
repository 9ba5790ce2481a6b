"""Files that are either whole or not there: atomic writes, digests, folders that can be written to."""

import hashlib
import json
import os
import struct
import tempfile
import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from foldpress.errors import OutputError, RequestError

# What reading an archive of arrays raises, depending on which byte of it is wrong.
_UNREADABLE = (OSError, EOFError, ValueError, TypeError, KeyError, RuntimeError, MemoryError, zipfile.BadZipFile, zlib.error,
               struct.error, tokenize.TokenError)  # fmt: skip


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is flushed to disk and takes the place of `path`.

    Whatever goes wrong, `path` keeps what it held before, and no temporary file stays behind.

    Raises:
        OutputError: the folder cannot be written to.
    """
    path = Path(path)
    writable_folder(path.parent)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        draft = Path(folder) / path.name
        yield draft
        # Sidecars first: the file that names them must never point to what is not there yet.
        for written in sorted(Path(folder).iterdir(), key=lambda file: file == draft):
            _flush(written)
            written.replace(path.parent / written.name)
    _flush(path.parent)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    with replacing(path) as draft:
        draft.write_text(text, encoding="utf-8")


def write_json(path: Path, document: Any) -> None:
    """Write a JSON document atomically. NaN and infinity are refused: JSON has neither."""
    write_text(path, json.dumps(document, indent=1, allow_nan=False, ensure_ascii=False) + "\n")


def read_arrays(path: Path) -> dict[str, Any]:
    """The arrays of an .npz file, by name. Its checksums are compared before anything is read, and nothing is unpickled.

    Raises:
        RequestError: missing or damaged.
    """
    import numpy as np

    try:
        with zipfile.ZipFile(path) as archive:
            if (damaged := archive.testzip()) is not None:
                raise zipfile.BadZipFile(f"{damaged} is damaged")
        with np.load(path, allow_pickle=False) as arrays:
            return dict(arrays)
    except _UNREADABLE as error:
        raise RequestError(f"{path} cannot be read: {error}", mend="it is damaged or missing: make it again") from error


def write_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write arrays by name as an .npz file, atomically. Sums of floats do not shrink, so only the others are compressed.

    Raises:
        OutputError: the folder cannot be written to.
    """
    import numpy as np

    with replacing(path) as draft, zipfile.ZipFile(draft, "w") as archive:
        for name, array in arrays.items():
            member = zipfile.ZipInfo(f"{name}.npy")
            member.compress_type = zipfile.ZIP_STORED if array.dtype.kind == "f" else zipfile.ZIP_DEFLATED
            with archive.open(member, "w", force_zip64=True) as stream:
                np.lib.format.write_array(stream, array, allow_pickle=False)


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's content."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def writable_folder(folder: Path) -> Path:
    """Make `folder` if need be, and prove that it can be written to.

    Raises:
        OutputError: it is a file, or cannot be made, or cannot be written to.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OutputError(
            f"cannot write to {folder}: {error.strerror or error}",
            mend="name another folder with -o, or mend its permissions",
        ) from error
    return folder


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
