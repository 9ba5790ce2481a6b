"""The packed size in the report."""

from pathlib import Path

import numpy as np
import pytest

from foldpress.storage import sizes
from foldpress.storage.pack import pack
from stored import graph


def test_beside_what_everybody_has(tmp_path: Path) -> None:
    """Catches a size of something else than the archive; bell-shaped int8 is what byte compressors do little for."""
    weight = np.clip(np.random.default_rng(0).normal(0, 30, 50_000).round(), -127, 127).astype(np.int8)
    source = graph(tmp_path / "net.onnx", weight)
    entry = sizes.packed_entry(source)
    assert entry["packed_bytes"] == pack(source, tmp_path / "net.fpz").bytes
    assert entry["packed_bytes"] < min(entry["compressed_bytes"].values())


def test_a_large_graph_is_left_alone_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a report that takes minutes, and a figure that is missing without a reason."""
    monkeypatch.setattr(sizes, "_LARGEST", 100)
    entry = sizes.packed_entry(graph(tmp_path / "net.onnx", np.zeros(500, np.float32)))
    assert entry["packed_bytes"] is None
    assert "foldpress pack" in entry["packed_bytes_why"]
