"""Pack a graph: every stored tensor entropy-coded, everything between them compressed, each byte of the files kept.

    magic "FPZ" and version, 4 bytes · coded tensors · head · length of the head, 4 bytes · SHA-256 of all before, 32 bytes

Numbers are little-endian. The tensors come block after block, and within a block stream after stream; the head says how long
each is. It is the last step of Deep Compression (Han et al. 2016, arXiv:1510.00149, §4), but that no symbol takes whole bits.
"""

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import onnx

from foldpress.errors import RequestError
from foldpress.files import replacing, sha256
from foldpress.graph import load_graph
from foldpress.progress import track
from foldpress.storage.entropy import Codes, encode
from foldpress.storage.head import File, Head, Part, write_head
from foldpress.storage.regions import Region, find_regions
from foldpress.storage.symbols import Bytes, Coding, blocks, split, survey
from foldpress.storage.tables import AS_IT_IS, share_tables

MAGIC = b"FPZ\x01"
LENGTH = struct.Struct("<I")


@dataclass(frozen=True)
class Packed:
    """What packing gave: bytes before and after, and a row for each tensor that was coded."""

    output: Path
    unpacked_bytes: int
    bytes: int
    tensors: tuple[dict[str, Any], ...]

    def as_json(self) -> dict[str, Any]:
        """The result as `--json` prints it."""
        return {**self.__dict__, "output": str(self.output), "tensors": list(self.tensors)}


@dataclass(eq=False)
class _Tensor:
    """A tensor, how it is written, the table of each of its streams, and the bytes that each stream of each block took."""

    region: Region
    content: Bytes
    coding: Coding
    tables: list[int] = field(default_factory=list)
    coded: list[list[int]] = field(default_factory=list)


class _Archive:
    """A file that is hashed as it is written, and what goes into its head."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream, self._digest, self.small = stream, hashlib.sha256(), bytearray()
        self.write(MAGIC)

    def write(self, content: bytes) -> None:
        self._stream.write(content)
        self._digest.update(content)

    def close(self, tables: list[Codes], files: list[File]) -> None:
        """Write what comes after the tensors."""
        self.small += b"".join(codes.tobytes() for codes in tables)
        head = write_head(Head(tables=[len(codes) for codes in tables], files=files), bytes(self.small))
        self.write(head + LENGTH.pack(len(head)))
        self._stream.write(self._digest.digest())


def pack(graph: Path | str, output: Path | str | None = None) -> Packed:
    """Write an .onnx file, and the weights in files beside it, as one .fpz.

    Memory does not grow with the tensors: they are read and coded in blocks.

    Args:
        graph: the .onnx file.
        output: the archive; by default the graph's own name with the ending .fpz.

    Raises:
        GraphError: no such graph, or a damaged one.
        OutputError: the folder cannot be written to.
    """
    graph = Path(graph)
    output = graph.with_suffix(".fpz") if output is None else Path(output)
    if output.is_dir():
        raise RequestError(f"{output} is a folder; name the .fpz file to write")
    load_graph(graph)
    regions = find_regions(graph, onnx.load(graph, load_external_data=False))
    tensors = {file: _survey(file, found) for file, found in regions.items()}
    tables = _share([tensor for found in tensors.values() for tensor in found])
    with replacing(output) as draft, draft.open("wb") as stream:
        archive = _Archive(stream)
        files = [_write_file(file, found, tables, archive) for file, found in tensors.items()]
        archive.close(tables, files)
    rows = tuple(_row(tensor) for found in tensors.values() for tensor in found)
    return Packed(output, sum(file.bytes for file in files), output.stat().st_size, rows)


def _survey(path: Path, regions: list[Region]) -> list[_Tensor]:
    content = np.memmap(path, np.uint8, "r")
    found = []
    for region in track(regions, f"reading {path.name}", len(regions)):
        whole = content[region.start : region.end]
        found.append(_Tensor(region, whole, survey(whole, region.width)))
    return found


def _share(tensors: Sequence[_Tensor]) -> list[Codes]:
    """The tables of all streams, each of which is given the number of its own."""
    streams = [(tensor, counts) for tensor in tensors for counts in tensor.coding.counts]
    # What a codebook codes is no byte, so it cannot stay as it is.
    plain = [np.inf if tensor.coding.way == "elements" else 8.0 * counts.sum() for tensor, counts in streams]
    tables, numbers = share_tables([counts for _, counts in streams], plain)
    for (tensor, _), number in zip(streams, numbers, strict=True):
        tensor.tables.append(number)
    return tables


def _write_file(path: Path, tensors: list[_Tensor], tables: list[Codes], archive: _Archive) -> File:
    content = np.memmap(path, np.uint8, "r")
    parts, end = [], 0
    for tensor in track(tensors, f"packing {path.name}", len(tensors)):
        region, coding = tensor.region, tensor.coding
        archive.small += content[end : region.start].tobytes() + coding.codebook.tobytes()
        for block in blocks(tensor.content, region.width):
            tensor.coded.append(_write_block(block, tensor, tables, archive))
        size = len(coding.codebook) // region.width
        parts.append(Part(before=region.start - end, bytes=len(tensor.content), way=coding.way, width=coding.width,
                          codebook=size, tables=tensor.tables, coded=tensor.coded))  # fmt: skip
        end = region.end
    archive.small += content[end:].tobytes()
    return File(name=path.name, bytes=len(content), sha256=sha256(path), parts=parts)


def _write_block(block: Bytes, tensor: _Tensor, tables: list[Codes], archive: _Archive) -> list[int]:
    sizes = []
    for symbols, number in zip(split(block, tensor.coding), tensor.tables, strict=True):
        coded = symbols.astype(np.uint8) if number == AS_IT_IS else encode(symbols, tables[number]).astype("<u4")
        archive.write(coded.tobytes())
        sizes.append(coded.nbytes)
    return sizes


def _row(tensor: _Tensor) -> dict[str, Any]:
    """What became of one tensor; codebooks and tables are small, and lie in the head."""
    size, packed = len(tensor.content), sum(map(sum, tensor.coded))
    return {
        "name": tensor.region.name, "shape": list(tensor.region.shape), "bytes": size, "packed_bytes": packed,
        "values": len(tensor.coding.codebook) // tensor.coding.width or None,
        "bits_per_element": 8 * packed * tensor.coding.width / size,
    }  # fmt: skip
