"""Packing: the same bytes again, near the entropy, and nothing but the same bytes."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from foldpress.errors import GraphError, RequestError
from foldpress.storage import symbols
from foldpress.storage.pack import MAGIC, pack
from foldpress.storage.unpack import unpack
from stored import graph

RNG = np.random.default_rng(0)
COUNT = 60_000


def entropy_bytes(symbols_: NDArray[np.generic]) -> float:
    _, counts = np.unique(symbols_, return_counts=True)
    return float(-(counts * np.log2(counts / counts.sum())).sum()) / 8


def sparse() -> NDArray[np.float32]:
    weights = RNG.normal(size=COUNT).astype(np.float32).round(1)
    return np.where(RNG.random(COUNT) < 0.1, weights, np.float32(0)) + np.float32(
        0
    )  # and no −0, which is another value


TENSORS = {
    "int8, bell-shaped": np.clip(RNG.normal(0, 40, COUNT).round(), -127, 127).astype(np.int8),
    "one bit": RNG.choice(np.array([-1, 1], np.int8), COUNT),
    "ternary, mostly zero": RNG.choice(np.array([-0.3, 0, 0.3], np.float32), COUNT, p=[0.05, 0.9, 0.05]),
    "codebook of 32 floats": RNG.normal(size=32).astype(np.float32)[RNG.integers(0, 32, COUNT)],
    "nine in ten are zero": sparse(),
    "codebook of half floats": RNG.normal(size=16).astype(np.float16)[RNG.integers(0, 16, COUNT)],
    "doubles": RNG.choice(RNG.normal(size=9), COUNT),
}


@pytest.mark.parametrize("weight", TENSORS.values(), ids=TENSORS)
def test_within_two_percent_of_the_entropy(weight: NDArray[np.generic], tmp_path: Path) -> None:
    """Catches whole bits for each symbol, as of Huffman's code, frequencies that are off, and a codebook that costs too much."""
    source = graph(tmp_path / "net.onnx", weight)
    packed = pack(source)
    (row,) = packed.tensors
    assert row["packed_bytes"] <= 1.02 * entropy_bytes(weight)
    assert packed.bytes <= 1.02 * entropy_bytes(weight) + weight.itemsize * len(np.unique(weight)) + 500
    assert unpack(packed.output, tmp_path / "again.onnx").read_bytes() == source.read_bytes()


@pytest.mark.parametrize("external", [False, True])
@pytest.mark.parametrize("block", [97, symbols.BLOCK])
def test_the_same_bytes_again(block: int, external: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches lost tails of blocks, weights in files beside the graph, odd sizes, dtypes that are no numbers."""
    for module in ("symbols", "unpack"):
        monkeypatch.setattr(f"foldpress.storage.{module}.BLOCK", block)
    odd: list[NDArray[Any]] = [
        RNG.normal(size=(7, 301)).astype(np.float32), RNG.integers(0, 9, 4001).astype(np.int64), np.zeros(5000, np.uint8),
        RNG.normal(size=3).astype(np.float32), np.empty(0, np.float32), RNG.random(4000) < 0.5,
        np.zeros(3000, np.float64), RNG.integers(0, 256, 2000).astype(np.uint8),
    ]  # fmt: skip
    source = graph(tmp_path / "net.onnx", *odd, external=external)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    archive = pack(source, tmp_path / "small" / "net.fpz").output
    unpack(archive, tmp_path / "again" / "net.onnx")
    assert {file.name: file.read_bytes() for file in (tmp_path / "again").iterdir()} == before
    assert archive.stat().st_size < sum(map(len, before.values()))


def test_packing_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    """Catches an archive that depends on time or order."""
    source = graph(tmp_path / "net.onnx", TENSORS["int8, bell-shaped"], TENSORS["one bit"])
    assert pack(source, tmp_path / "a.fpz").output.read_bytes() == pack(source, tmp_path / "b.fpz").output.read_bytes()


def mutated(content: bytes, rng: np.random.Generator) -> bytes:
    """Some bytes changed, gone, added or cut off."""
    at, span = int(rng.integers(len(content))), int(rng.integers(1, 9))
    kind = rng.integers(4)
    if kind == 0:
        changed = bytes(byte ^ int(rng.integers(1, 256)) for byte in content[at : at + span])
        return content[:at] + changed + content[at + span :]
    if kind == 1:
        return content[:at] + content[at + span :]
    if kind == 2:
        return content[:at] + rng.bytes(span) + content[at:]
    return content[:at]


def test_no_altered_archive_gives_another_model(tmp_path: Path) -> None:
    """Catches, over 500 mutations, a crash, a file left behind, and a model that is silently another one."""
    content = pack(graph(tmp_path / "net.onnx", sparse(), TENSORS["one bit"]), tmp_path / "net.fpz").output.read_bytes()
    rng = np.random.default_rng(1)
    (tmp_path / "out").mkdir()
    for _ in range(500):
        (tmp_path / "bad.fpz").write_bytes(mutated(content, rng))
        with pytest.raises(RequestError):
            unpack(tmp_path / "bad.fpz", tmp_path / "out" / "net.onnx")
    assert not list((tmp_path / "out").iterdir())


def test_a_forged_digest_does_not_help(tmp_path: Path) -> None:
    """Catches an archive that is trusted since its digest fits, as whoever altered it can make it."""
    source = graph(tmp_path / "net.onnx", sparse(), RNG.normal(size=900).astype(np.float32))
    content = pack(source).output.read_bytes()[:-32]
    rng = np.random.default_rng(2)
    for _ in range(300):
        forged = mutated(content, rng)
        (tmp_path / "bad.fpz").write_bytes(forged + hashlib.sha256(forged).digest())
        try:
            given = unpack(tmp_path / "bad.fpz", tmp_path / "out" / "net.onnx").read_bytes()
        except RequestError:
            continue
        assert given == source.read_bytes()


def test_wrong_requests(tmp_path: Path) -> None:
    """Catches a traceback in place of a sentence."""
    with pytest.raises(GraphError, match="there is no ONNX file"):
        pack(tmp_path / "net.onnx")
    with pytest.raises(RequestError, match="there is no archive"):
        unpack(tmp_path / "net.fpz")
    (tmp_path / "empty.fpz").touch()
    with pytest.raises(RequestError, match="no packed graph"):
        unpack(tmp_path / "empty.fpz")
    (tmp_path / "later.fpz").write_bytes(MAGIC[:-1] + b"\x02" + bytes(100))
    with pytest.raises(RequestError, match="another version"):
        unpack(tmp_path / "later.fpz")
    source = graph(tmp_path / "net.onnx", TENSORS["one bit"])
    with pytest.raises(RequestError, match="is a folder"):
        pack(source, tmp_path)
