"""Unpack a graph: the very bytes that were packed, or an error."""

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np

from foldpress.errors import OutputError, RequestError
from foldpress.files import replacing, sha256, writable_folder
from foldpress.storage.entropy import Codes, Symbols, decode
from foldpress.storage.head import File, Head, Part, read_head
from foldpress.storage.pack import LENGTH, MAGIC
from foldpress.storage.symbols import BLOCK, Bytes, Coding, join
from foldpress.storage.tables import AS_IT_IS

_DIGEST_BYTES = 32
_CHUNK = 2**20
_WORD = 4


def unpack(archive: Path | str, output: Path | str | None = None) -> Path:
    """Write the .onnx file, and the weights beside it, that an .fpz holds.

    Args:
        archive: the .fpz file.
        output: the .onnx file to write; the archive's own name with the ending .onnx by default. Files beside it keep their
            names, for the graph refers to them.

    Raises:
        RequestError: missing, cut short, altered, or of another version; nothing is written.
        OutputError: no room, or the folder cannot be written to.
    """
    archive = Path(archive)
    output = archive.with_suffix(".onnx") if output is None else Path(output)
    if output.is_dir():
        raise RequestError(f"{output} is a folder; name the .onnx file to write")
    with _opened(archive) as stream:
        head, small = _read_head(stream, archive)
        _check_room(head, output)
        with replacing(output) as draft:
            front, tables = _tables(head, small)
            for number, file in enumerate(head.files):
                path = draft.parent / file.name if number else draft
                _write_file(path, file, stream, front, tables)
    return output


class _Taken:
    """Bytes that are taken from the front, one run after another."""

    def __init__(self, content: bytes) -> None:
        self._content, self._start = content, 0

    def take(self, count: int) -> bytes:
        end = self._start + count
        if end > len(self._content):
            raise _nonsense("it ends before its parts do")
        found, self._start = self._content[self._start : end], end
        return found


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    if not path.is_file():
        near = ", ".join(sorted(found.name for found in path.parent.glob("*.fpz"))) if path.parent.is_dir() else ""
        raise RequestError(f"there is no archive {path}", available=near or "no .fpz in that folder")
    with path.open("rb") as stream:
        yield stream


def _read_head(stream: BinaryIO, path: Path) -> tuple[Head, bytes]:
    """The head, once the archive has been proven whole; the stream then stands at the first coded tensor."""
    size = path.stat().st_size
    if stream.read(len(MAGIC) - 1) != MAGIC[:-1]:
        raise RequestError(f"{path} is no packed graph")
    if stream.read(1) != MAGIC[-1:]:
        raise RequestError(f"{path} is of another version", mend="unpack it with the foldpress that packed it")
    body = size - LENGTH.size - _DIGEST_BYTES
    if body < len(MAGIC) or _digest(stream, size - _DIGEST_BYTES) != stream.read(_DIGEST_BYTES):
        raise RequestError(f"{path} was cut short, or altered", mend="copy or pack it again")
    stream.seek(body)
    (length,) = LENGTH.unpack(stream.read(LENGTH.size))
    if length > body - len(MAGIC):
        raise RequestError(f"{path} has a head that is longer than itself")
    stream.seek(body - length)
    head, small = read_head(stream.read(length))
    stream.seek(len(MAGIC))
    return head, small


def _digest(stream: BinaryIO, end: int) -> bytes:
    """SHA-256 of the first `end` bytes."""
    stream.seek(0)
    digest = hashlib.sha256()
    for start in range(0, end, _CHUNK):
        digest.update(stream.read(min(_CHUNK, end - start)))
    return digest.digest()


def _check_room(head: Head, output: Path) -> None:
    needed, free = sum(file.bytes for file in head.files), shutil.disk_usage(writable_folder(output.parent)).free
    if needed > free:
        raise OutputError(f"unpacking takes {needed:,} bytes; {free:,} are free beside {output}")


def _tables(head: Head, small: bytes) -> tuple[_Taken, list[Codes]]:
    """What lies between and in codebooks, and behind it the tables of frequencies."""
    end = len(small) - sum(head.tables)
    if end < 0:
        raise _nonsense("it ends before its tables do")
    behind = _Taken(small[end:])
    tables = [np.frombuffer(behind.take(size), np.uint8) for size in head.tables]
    if any(not codes.any() for codes in tables):
        raise _nonsense("a table of frequencies is empty")
    return _Taken(small[:end]), tables


def _write_file(path: Path, file: File, stream: BinaryIO, small: _Taken, tables: list[Codes]) -> None:
    left = file.bytes
    with path.open("wb") as written:
        for part in file.parts:
            written.write(small.take(part.before))
            left -= part.before + part.bytes
            codebook = np.frombuffer(small.take(part.codebook * part.width), np.uint8)
            coding = Coding(part.way, part.width, codebook)
            for block in _blocks(part, coding, stream, tables):
                written.write(block.tobytes())
        if left < 0:
            raise _nonsense(f"the parts of {file.name} are more than it")
        written.write(small.take(left))
    if sha256(path) != file.sha256:
        raise RequestError(f"{file.name} is not what was packed", mend="pack it again")


def _blocks(part: Part, coding: Coding, stream: BinaryIO, tables: list[Codes]) -> Iterator[Bytes]:
    elements, streams = part.bytes // part.width, 1 if part.way == "elements" else part.width
    if (
        part.bytes % part.width
        or len(part.tables) != streams
        or len(part.coded) != -(-elements // BLOCK)
        or any(len(coded) != streams for coded in part.coded)
        or max(part.tables) >= len(tables)
    ):
        raise _nonsense("it tells of streams that cannot be")
    for number, coded in enumerate(part.coded):
        count = min(BLOCK, elements - number * BLOCK)
        found = [
            _symbols(stream, size, None if table == AS_IT_IS else tables[table], count)
            for size, table in zip(coded, part.tables, strict=True)
        ]
        if part.way == "elements" and found[0].max() >= part.codebook:
            raise _nonsense("a table and its codebook differ")
        yield join(found, coding)


def _symbols(stream: BinaryIO, size: int, codes: Codes | None, count: int) -> Symbols:
    if size > 2 * _WORD * BLOCK:  # no symbol takes more than 24 bits
        raise _nonsense("a stream is longer than it can be")
    content = stream.read(size)
    if codes is None:
        symbols = np.frombuffer(content, np.uint8).astype(np.int32)
    else:
        words = np.frombuffer(content[: size // _WORD * _WORD], "<u4")
        symbols = decode(words.astype(np.uint32), codes, count)
    if len(symbols) != count:
        raise _nonsense("a stream is too short")
    return symbols


def _nonsense(why: str) -> RequestError:
    return RequestError(f"the head of the archive makes no sense: {why}", mend="pack the graph again")
