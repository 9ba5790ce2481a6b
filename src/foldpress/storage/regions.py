"""Where stored tensors lie in the files of a graph: everything else, names and structure, is small."""

import mmap
from dataclasses import dataclass
from pathlib import Path

import onnx

from foldpress.external import stored_tensors
from foldpress.storage.symbols import Width

_SMALL = 1024  # bytes: what coding saves, the ends of its streams cost; among the rest they are compressed, too
_WIDTHS: dict[int, Width] = {
    onnx.TensorProto.FLOAT: 4, onnx.TensorProto.DOUBLE: 8, onnx.TensorProto.FLOAT16: 2, onnx.TensorProto.BFLOAT16: 2,
    onnx.TensorProto.INT64: 8, onnx.TensorProto.INT32: 4, onnx.TensorProto.INT16: 2, onnx.TensorProto.UINT64: 8,
    onnx.TensorProto.UINT32: 4, onnx.TensorProto.UINT16: 2,
}  # fmt: skip


@dataclass(frozen=True)
class Region:
    """Bytes [start, end) of a file that hold a tensor with elements of `width` bytes; those of 4 bits and less count as bytes."""

    name: str
    shape: tuple[int, ...]
    start: int
    end: int
    width: Width


def find_regions(path: Path, proto: onnx.ModelProto) -> dict[Path, list[Region]]:
    """The tensors in the graph's own file and in those beside it, in the order in which they lie there, without overlap.

    A tensor that is not found as it is, for it is stored as a list of numbers, is left to what compresses the rest.
    """
    found: dict[Path, list[Region]] = {path: []}
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
        after = 0
        for tensor in stored_tensors(proto):
            if tensor.data_location == onnx.TensorProto.EXTERNAL:
                beside, region = _beside(path, tensor)
                found.setdefault(beside, []).append(region)
            elif len(tensor.raw_data) >= _SMALL and (start := _find(content, tensor.raw_data, after)) >= 0:
                after = start + len(tensor.raw_data)
                found[path].append(_region(tensor, start, after))
    return {file: _apart(regions) for file, regions in found.items()}


def _beside(path: Path, tensor: onnx.TensorProto) -> tuple[Path, Region]:
    entries = {entry.key: entry.value for entry in tensor.external_data}
    file, start = path.parent / entries["location"], int(entries.get("offset", 0))
    return file, _region(tensor, start, start + int(entries.get("length") or file.stat().st_size - start))


def _region(tensor: onnx.TensorProto, start: int, end: int) -> Region:
    width = _WIDTHS.get(tensor.data_type, 1)
    width = width if (end - start) % width == 0 else 1
    return Region(tensor.name, tuple(tensor.dims), start, end, width)


def _find(content: mmap.mmap, wanted: bytes, after: int) -> int:
    """Where a tensor starts, or −1. Weights lie in their own order, but those of nodes lie before them."""
    start = content.find(wanted, after)
    return start if start >= 0 else content.find(wanted)


def _apart(regions: list[Region]) -> list[Region]:
    """In order; of two that share bytes, the first."""
    kept: list[Region] = []
    for region in sorted(regions, key=lambda region: region.start):
        if region.end - region.start >= _SMALL and (not kept or region.start >= kept[-1].end):
            kept.append(region)
    return kept
