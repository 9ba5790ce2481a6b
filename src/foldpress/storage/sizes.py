"""What a graph takes when it is stored or sent: packed by foldpress, and by what everybody has."""

import lzma
import tempfile
import zlib
from pathlib import Path
from typing import Any

import zstandard

from foldpress.graph import graph_files
from foldpress.storage.pack import pack

_LARGEST = 2**26  # bytes: xz takes about a second for each 2 MB
_ZSTD_LEVEL = 19


def packed_entry(path: Path) -> dict[str, Any]:
    """The `packed_bytes` of a graph in report.json, and beside it `compressed_bytes` by zip, zstd -19 and xz -9."""
    files = graph_files(path)
    if sum(file.stat().st_size for file in files) > _LARGEST:
        why = f"larger than {_LARGEST // 2**20} MiB: foldpress pack tells"
        return {"packed_bytes": None, "packed_bytes_why": why, "compressed_bytes": None, "compressed_bytes_why": why}
    content = b"".join(file.read_bytes() for file in files)
    with tempfile.TemporaryDirectory(prefix="foldpress.") as folder:
        packed = pack(path, Path(folder) / "graph.fpz").bytes
    compressed = {
        "zip": len(zlib.compress(content, 9)),
        "zstd": len(zstandard.ZstdCompressor(level=_ZSTD_LEVEL).compress(content)),
        "xz": len(lzma.compress(content, preset=9)),
    }
    return {"packed_bytes": packed, "compressed_bytes": compressed}
