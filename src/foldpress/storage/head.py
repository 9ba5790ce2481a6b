"""The head of a packed graph: which files it holds, of which parts they consist, and all that is small.

It is JSON followed by the small bytes, compressed together by LZMA.
"""

import json
import lzma
import struct
from pathlib import PurePath
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from foldpress.errors import RequestError
from foldpress.storage.symbols import LARGEST_CODEBOOK, Way, Width
from foldpress.storage.tables import AS_IT_IS

_LENGTH = struct.Struct("<I")
_LARGEST = 2**28  # bytes in memory

Count = Annotated[int, Field(ge=0)]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Part(_Table):
    """One tensor: bytes before it, how it is written, and the bytes that each stream of each block takes.

    `tables` has the number of a table of frequencies for each stream, or −1 where the stream is left as it is.
    """

    before: Count
    bytes: Count
    way: Way
    width: Width
    codebook: Annotated[int, Field(ge=0, le=LARGEST_CODEBOOK)]
    tables: list[Annotated[int, Field(ge=AS_IT_IS)]]
    coded: list[list[Count]]


class File(_Table):
    """One file of the graph; what its parts leave over lies behind them."""

    name: str
    bytes: Count
    sha256: str
    parts: list[Part]

    @field_validator("name")
    @classmethod
    def _plain_name(cls, name: str) -> str:
        if name in ("", ".", "..") or PurePath(name).name != name or "\\" in name:
            raise ValueError("it is no plain file name")
        return name


class Head(_Table):
    """The graph's own file first; `tables` has the number of symbols of each table of frequencies."""

    tables: list[Annotated[int, Field(ge=1, le=LARGEST_CODEBOOK)]]
    files: Annotated[list[File], Field(min_length=1)]


def write_head(head: Head, small: bytes) -> bytes:
    """Compress the head and the small bytes."""
    text = head.model_dump_json().encode()
    return lzma.compress(_LENGTH.pack(len(text)) + text + small, preset=9 | lzma.PRESET_EXTREME)


def read_head(packed: bytes) -> tuple[Head, bytes]:
    """What `write_head` was given.

    Raises:
        RequestError: it is no such head.
    """
    decompressor = lzma.LZMADecompressor()
    try:
        content = decompressor.decompress(packed, _LARGEST)
        if not decompressor.eof:
            raise ValueError(f"it holds more than {_LARGEST} bytes, or is cut short")
        (length,) = _LENGTH.unpack_from(content)
        end = _LENGTH.size + length
        return Head.model_validate_json(content[_LENGTH.size : end]), content[end:]
    except (lzma.LZMAError, struct.error, ValueError, ValidationError, json.JSONDecodeError) as error:
        raise RequestError(f"the head of the archive makes no sense: {str(error).splitlines()[0]}") from error
