"""Statistics as a file: merged over machines, refused where they do not belong, never half read."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest

import foldpress
from foldpress.data import Array
from foldpress.errors import DataError, RequestError
from foldpress.optimizer.histogram import HistogramStatistics
from foldpress.optimizer.one_pass import accumulate
from foldpress.optimizer.saved_statistics import SavedStatistics, load_statistics

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 6)).astype(np.float32) * np.geomspace(1e-3, 1e3, 40, dtype=np.float32)[:, None]
NUMBERS = np.stack([np.arange(40) % 4, np.arange(40) // 10])


@pytest.fixture(autouse=True)
def graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_graph(tmp_path / "net.onnx")
    return tmp_path / "net.onnx"


def write_graph(path: Path, scale: float = 1.0) -> None:
    proto = onnx.parser.parse_model("""<ir_version: 9, opset_import: ["" : 18]> g (float[N, 6] x) => (float[N, 5] y) {
        h = MatMul (x, w)  r = Relu (h)  y = MatMul (r, v) }""")
    generator = np.random.default_rng(1)
    for name, shape in (("w", (6, 8)), ("v", (8, 5))):
        weight = (scale * generator.normal(size=shape)).astype(np.float32)
        proto.graph.initializer.append(onnx.numpy_helper.from_array(weight, name))
    onnx.save(proto, path)


def collect(
    rows: Array | slice = slice(None),
    kind: str = "histograms",
    graph: str = "net.onnx",
    passes: tuple[str, ...] = ("gptq", "bias-correction"),
) -> SavedStatistics:
    np.savez("data.npz", x=X[rows])
    return foldpress.collect_statistics(
        graph, data="data.npz", numbers=NUMBERS[:, rows], kind=kind, weight_passes=passes
    )


def content(saved: SavedStatistics) -> list[bytes]:
    found, ranges = saved.statistics.found, saved.statistics.ranges
    counts = [found.counts.tobytes()] if isinstance(found, HistogramStatistics) else []
    # What is exact; sums are not, in another order.
    return [ranges.minimum.tobytes(), ranges.maximum.tobytes(), *counts, repr(ranges.tensors).encode()]


def sums(saved: SavedStatistics) -> dict[str, Array]:
    learned = saved.statistics
    means = {f"mean {name}": total for name, total in learned.means.sums.items()}
    return means | {f"gram {name}": total for name, total in learned.grams.grams.items()}


@pytest.mark.parametrize("kind", ["ranges", "histograms"])
@pytest.mark.parametrize("split", ["every third", "half", "last folds first"])
def test_two_machines_give_what_one_gives_bit_for_bit(kind: str, split: str, tmp_path: Path) -> None:
    """Catches: a part that depends on its batches; folds that only one machine has; digests that depend on the order."""
    first = {"every third": np.arange(40) % 3 == 0, "half": np.arange(40) < 17, "last folds first": np.arange(40) >= 30}
    parts = [collect(np.flatnonzero(rows), kind) for rows in (first[split], ~first[split])]
    for number, part in enumerate(parts):
        part.save(tmp_path / f"{number}.npz")
    carried = [foldpress.load_statistics(tmp_path / f"{number}.npz") for number in range(2)]
    together = collect(kind=kind)
    for merged in (carried[0].merge(carried[1]), carried[1].merge(carried[0])):
        assert content(merged) == content(together)
        assert merged.origin() == together.origin()
        assert len(sums(merged)) == 4
        for name, wanted in sums(together).items():
            np.testing.assert_allclose(sums(merged)[name], wanted, rtol=1e-5, atol=1e-5 * np.abs(wanted).max())
        np.testing.assert_array_equal(merged.statistics.means.samples, together.statistics.means.samples)


def test_what_is_saved_comes_back_bit_for_bit(tmp_path: Path) -> None:
    """Catches: a layer that gets another's sums, a rounded sum."""
    saved = collect()
    saved.save(tmp_path / "statistics.npz")
    found = load_statistics(tmp_path / "statistics.npz")
    assert content(found) == content(saved)
    assert list(sums(found)) == list(sums(saved))
    assert [array.tobytes() for array in sums(found).values()] == [array.tobytes() for array in sums(saved).values()]
    assert found.statistics.means.samples.tolist() == saved.statistics.means.samples.tolist()


def test_parts_merge_where_a_sample_overflows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches: counts of a tensor that overflowed, which depend on what came before."""
    rows = X.copy()
    rows[5] = 3e38
    monkeypatch.setattr(f"{__name__}.X", rows)
    one, two, together = collect(slice(0, 20)), collect(slice(20, 40)), collect()
    assert content(one.merge(two)) == content(two.merge(one)) == content(together)


def test_a_sample_in_both_parts_is_refused() -> None:
    """Catches: samples that count twice."""
    with pytest.raises(DataError, match="3 samples are in both parts"):
        collect(slice(0, 20)).merge(collect(slice(17, 40)))


def test_parts_of_different_origin_are_refused() -> None:
    """Catches: statistics of two networks, or of two kinds, made into one."""
    write_graph(Path("other.onnx"), scale=1.001)
    with pytest.raises(RequestError, match=r"collected from other graph \(\w{16}, not \w{16}\)"):
        collect(slice(0, 20)).merge(collect(slice(20, 40), graph="other.onnx"))
    with pytest.raises(RequestError, match=r"other kind \(ranges, not 2048 bins\)"):
        collect(slice(0, 20)).merge(collect(slice(20, 40), "ranges"))
    one = collect(slice(0, 20))
    with pytest.raises(RequestError, match="one has fold numbers for 1 repeats, the other for 2"):
        np.savez("data.npz", x=X[20:])
        foldpress.collect_statistics("net.onnx", data="data.npz", weight_passes=["gptq", "bias-correction"]).merge(one)


@pytest.mark.parametrize("change", ["graph", "samples", "folds", "kind", "versions", "passes"])
def test_what_they_were_collected_from_is_named(change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches: statistics of another graph, of other samples or folds, or of another version, taken for these."""
    saved = collect()
    if change == "graph":
        write_graph(Path("net.onnx"), scale=1.001)
    elif change == "samples":
        monkeypatch.setattr(f"{__name__}.X", np.nextafter(X, np.float32(9)))
    elif change == "folds":
        monkeypatch.setattr(f"{__name__}.NUMBERS", NUMBERS[:, ::-1])
    elif change == "versions":
        monkeypatch.setattr(foldpress, "__version__", "0.0.1")
    passes = ("bias-correction",) if change == "passes" else ("gptq", "bias-correction")
    other = collect(kind="ranges" if change == "kind" else "histograms", passes=passes)
    named = {"folds": "samples", "passes": "layers for gptq"}.get(change, change)
    with pytest.raises(RequestError, match=rf"collected from other {named} \(") as raised:
        saved.require(other.origin())
    assert raised.value.exit_code == 2
    saved.require(saved.origin())


def test_the_order_of_samples_does_not_count() -> None:
    """Catches: the same samples refused because another machine read them in another order."""
    order = RNG.permutation(40)
    assert collect(order).origin() == collect().origin()


@pytest.mark.parametrize(
    "damage",
    [
        "missing",
        "empty",
        "cut short",
        "not an archive",
        "array missing",
        "sums missing",
        "shape of sums",
        "shape",
        "objects",
        "contents",
    ],
)
def test_damaged_files_are_refused(damage: str, tmp_path: Path) -> None:
    """Catches: a traceback, half a file taken for a whole one, a pickle that is loaded."""
    path = tmp_path / "statistics.npz"
    collect().save(path)
    with np.load(path) as archive:
        arrays = dict(archive)
    if damage == "missing":
        path.unlink()
    elif damage in ("empty", "cut short", "not an archive"):
        path.write_bytes({"empty": b"", "cut short": path.read_bytes()[:-100], "not an archive": b"PK"}[damage])
    else:
        if damage == "array missing":
            del arrays["maximum"]
        elif damage == "sums missing":
            del arrays["gram1"]
        elif damage == "shape of sums":
            arrays["mean0"] = arrays["mean0"][:, :2]
        elif damage == "contents":
            arrays["samples"][0, 0] += 1
        else:
            arrays["counts"] = arrays["counts"][:, :1] if damage == "shape" else np.array([object()])
        np.savez(path, **arrays)
    with pytest.raises(RequestError, match=r"statistics\.npz (cannot be read|holds no statistics)") as raised:
        load_statistics(path)
    assert raised.value.exit_code == 2


def test_every_flipped_byte_is_seen_or_changes_nothing(tmp_path: Path) -> None:
    """Catches: damage that reads as other statistics."""
    path = tmp_path / "statistics.npz"
    saved = collect()
    saved.save(path)
    whole = path.read_bytes()
    for position in RNG.choice(len(whole), 300, replace=False):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0x55]) + whole[position + 1 :])
        try:
            found = load_statistics(path)
        except RequestError:
            continue
        assert content(found) == content(saved)
        assert str(sums(found)) == str(sums(saved))
        assert found.origin() == saved.origin()


def test_the_same_statistics_give_the_same_file(tmp_path: Path) -> None:
    """Catches: a date or an order in the file that differs from run to run."""
    for name in ("a.npz", "b.npz"):
        collect().save(tmp_path / name)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


@pytest.mark.parametrize("numbers", [np.zeros(39, int), np.zeros(40), np.full(40, -1), np.zeros((1, 1, 40), int)])
def test_fold_numbers_that_do_not_fit_are_refused(numbers: Array) -> None:
    """Catches: numbers of other samples, cut or repeated to fit."""
    np.savez("data.npz", x=X)
    with pytest.raises(DataError, match="fold numbers are .* for 40 samples"):
        foldpress.collect_statistics("net.onnx", data="data.npz", numbers=numbers)
    with pytest.raises(RequestError, match="there are no statistics 'moments'"):
        foldpress.collect_statistics("net.onnx", data="data.npz", kind="moments")


def quantize(output: str, **options: object) -> bytes:
    """The bytes of the graph that is made, from all of X unless told otherwise."""
    np.savez("data.npz", x=X)
    given: dict[str, Any] = {"graph": "net.onnx", "target": "x86", "precision": "static"} | options
    foldpress.quantize(given.pop("graph"), output, data="data.npz", **given)
    return Path(output).read_bytes()


@pytest.fixture
def collections(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for every pass over the data."""
    passes: list[int] = []

    def counted(*arguments: Any, **options: Any) -> None:
        passes.append(1)
        accumulate(*arguments, **options)

    monkeypatch.setattr("foldpress.optimizer.collection.accumulate", counted)
    return passes


def test_quantize_writes_statistics_and_takes_them_again(collections: list[int]) -> None:
    """Catches: a second pass over the data; another graph from a file than from the data."""
    plain = quantize("plain.onnx")
    first, again = quantize("a.onnx", statistics="s.npz"), quantize("b.onnx", statistics=Path("s.npz"))
    assert plain == first == again
    assert len(collections) == 2


@pytest.mark.usefixtures("collections")
@pytest.mark.parametrize("numbers", [None, NUMBERS])
def test_quantize_takes_what_was_collected_elsewhere(numbers: Array | None, collections: list[int]) -> None:
    """Catches: a file by `collect_statistics` that fits no other command; a fold that is left out of what ships."""
    np.savez("data.npz", x=X[::-1])  # another machine may read the samples in another order
    foldpress.collect_statistics("net.onnx", data="data.npz", numbers=numbers).save(Path("s.npz"))
    assert quantize("a.onnx", statistics="s.npz") == quantize("b.onnx")
    assert quantize("c.onnx", statistics="s.npz", samples=40, target="arm") == quantize("d.onnx", target="arm")
    assert len(collections) == 3


def test_the_samples_of_the_file_calibrate() -> None:
    """Catches: other samples drawn for the layers that may stay float than those of the file."""
    np.savez("data.npz", x=X[5:30])
    foldpress.collect_statistics("net.onnx", data="data.npz").save(Path("s.npz"))
    found = quantize("a.onnx", statistics="s.npz", float_macs=0.5)
    np.savez("data.npz", x=X[5:30])
    foldpress.quantize("net.onnx", "b.onnx", data="data.npz", target="x86", precision="static", float_macs=0.5)
    assert found == Path("b.onnx").read_bytes()
    assert found != quantize("c.onnx", float_macs=0.5)


STALE: dict[str, tuple[dict[str, Any], str]] = {
    "graph": ({"graph": "other.onnx"}, r"graph \(\w{16}, not \w{16}\)"),
    "samples": ({}, r"samples \(\w{16}, not \w{16}\)"),
    "count": ({"samples": 30}, r"samples \(\w{16}, not \w{16}\)"),
    "seed": ({"samples": 20, "seed": 1}, r"samples \(\w{16}, not \w{16}\)"),
    "calibration": ({"calibration": "minmax"}, r"kind \(2048 bins, not ranges\)"),
    "passes": ({"weight_passes": "none"}, r"layers for bias-correction \(2, \w{16}, not none\)"),
    "all": ({"graph": "other.onnx", "samples": 30, "calibration": "minmax"}, r"graph \(.*samples \(.*kind \("),
}


@pytest.mark.parametrize("change", STALE)
def test_stale_statistics_are_refused(change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches: statistics of another network, of other samples or options; a file that is overwritten because of it."""
    write_graph(Path("other.onnx"), scale=1.001)
    quantize("a.onnx", statistics="s.npz", **({"samples": 20} if change == "seed" else {}))
    before = Path("s.npz").read_bytes()
    if change == "samples":
        monkeypatch.setattr(f"{__name__}.X", np.nextafter(X, np.float32(9)))
    options, named = STALE[change]
    with pytest.raises(
        RequestError, match=rf"s\.npz does not fit: the statistics were collected from other {named}"
    ) as raised:
        quantize("b.onnx", statistics="s.npz", **options)
    assert raised.value.exit_code == 2
    assert "remove this one" in str(raised.value)
    assert Path("s.npz").read_bytes() == before
    assert not Path("b.onnx").exists()


def test_other_wrong_requests_are_refused() -> None:
    """Catches: a file that no precision reads, in silence; a damaged one that is overwritten."""
    with pytest.raises(RequestError, match="precision = 'dynamic' takes no statistics"):
        quantize("a.onnx", statistics="s.npz", precision="dynamic")
    Path("s.npz").write_bytes(b"PK")
    with pytest.raises(RequestError, match=r"s\.npz cannot be read"):
        quantize("a.onnx", statistics="s.npz")
    assert Path("s.npz").read_bytes() == b"PK"
