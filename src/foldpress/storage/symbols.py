"""A stored tensor as streams of symbols, and back.

Two ways, of which each tensor takes the smaller:
elements  few different values of several bytes, as after sharing or pruning: a codebook, and for each element its place in it
planes    the first bytes of all elements, the second bytes, …: exponents repeat, mantissas do not
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from foldpress.storage.entropy import Counts, Symbols
from foldpress.storage.tables import own_bits

Bytes = NDArray[np.uint8]
Way = Literal["elements", "planes"]
Width = Literal[1, 2, 4, 8]

BLOCK = 2**20  # elements that are coded, and held in memory, at once
LARGEST_CODEBOOK = 4096
_BYTE = 256


@dataclass(frozen=True, eq=False)
class Coding:
    """How a tensor is written. `codebook` holds the elements' values; `counts`, how often each symbol occurs in each stream."""

    way: Way
    width: Width
    codebook: Bytes
    counts: tuple[Counts, ...] = ()


def survey(region: Bytes, width: Width) -> Coding:
    """The smaller way to write a tensor of `width` bytes an element, [n · width]."""
    planes = _plane_counts(region, width)
    values, counts = _values(region, width)
    plain = 8.0 * len(region) / width
    if values is not None and own_bits(counts) + 8 * values.nbytes < sum(min(plain, own_bits(one)) for one in planes):
        return Coding("elements", width, values.view(np.uint8), (counts,))
    return Coding("planes", width, np.empty(0, np.uint8), tuple(planes))


def blocks(region: Bytes, width: int) -> Iterator[Bytes]:
    """Runs of BLOCK elements."""
    for start in range(0, len(region), BLOCK * width):
        yield region[start : start + BLOCK * width]


def split(block: Bytes, coding: Coding) -> list[Symbols]:
    """The streams of one block."""
    if coding.way == "elements":
        codebook = _as_elements(coding.codebook, coding.width)
        return [np.searchsorted(codebook, _as_elements(block, coding.width)).astype(np.int32)]
    return list(block.reshape(-1, coding.width).T.astype(np.int32))


def join(streams: list[Symbols], coding: Coding) -> Bytes:
    """The block that `split` took apart."""
    if coding.way == "elements":
        return np.ascontiguousarray(_as_elements(coding.codebook, coding.width)[streams[0]]).view(np.uint8)
    return np.stack(streams, axis=1).astype(np.uint8).ravel()


def _values(region: Bytes, width: int) -> tuple[NDArray[np.unsignedinteger] | None, Counts]:
    """Different elements and how often each occurs; None where there are too many, or an element is but a byte."""
    values, counts = np.empty(0, f"<u{width}"), np.empty(0, np.int64)
    if width == 1:
        return None, counts
    for block in blocks(region, width):
        found, times = np.unique(_as_elements(block, width), return_counts=True)
        values, place = np.unique(np.concatenate([values, found]), return_inverse=True)
        counts = np.bincount(place, np.concatenate([counts, times])).astype(np.int64)
        if len(values) > LARGEST_CODEBOOK:
            return None, counts
    return values, counts


def _plane_counts(region: Bytes, width: int) -> list[Counts]:
    counts = np.zeros((width, _BYTE), np.int64)
    for block in blocks(region, width):
        for plane, symbols in enumerate(block.reshape(-1, width).T):
            counts[plane] += np.bincount(symbols, minlength=_BYTE)
    return list(counts)


def _as_elements(block: Bytes, width: int) -> NDArray[np.unsignedinteger]:
    return np.ascontiguousarray(block).view(f"<u{width}")
