"""Statistics as a file, with digests of all that they were collected from.

The file is an .npz of plain arrays and is never unpickled. Statistics that were collected elsewhere, or before, are only as
good as the proof that they belong to this graph, these samples and these folds: what differs is named, and refused. Since
statistics merge, so do files: parts of the samples may be collected on several machines.
"""

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import onnx_ir as ir
import onnxruntime
from numpy.typing import NDArray

import foldpress
from foldpress.data import Dataset, Indices
from foldpress.errors import DataError, RequestError
from foldpress.external import light_proto
from foldpress.files import read_arrays, replacing
from foldpress.optimizer.histogram import BINS, HistogramStatistics, collect_histograms
from foldpress.optimizer.statistics import RangeStatistics, collect_ranges

Kind = Literal["ranges", "histograms"]

_DIGEST_BYTES = 16  # of a sample, see `Dataset.digests`
_SHA256_DIGITS = 64

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class SavedStatistics:
    """Statistics, and what they were collected from.

    Args:
        statistics: ranges or histograms by fold.
        graph: SHA-256 of the graph.
        versions: of foldpress and onnxruntime: another one may round otherwise.
        samples: the digest of every sample's inputs, [N, 16] bytes.
        numbers: fold number of every sample in each repeat, [repeats, N].
    """

    statistics: RangeStatistics | HistogramStatistics
    graph: str
    versions: str
    samples: NDArray[np.uint8]
    numbers: Indices

    def origin(self) -> dict[str, str]:
        """What the statistics were collected from and how, in words and digests; the order of samples does not count."""
        tensors = _ranges(self.statistics).tensors
        return _origin(self.graph, self.versions, tensors, self.kind, self.samples, self.numbers)

    @property
    def kind(self) -> Kind:
        """What they are."""
        return "histograms" if isinstance(self.statistics, HistogramStatistics) else "ranges"

    def require(self, origin: Mapping[str, str]) -> None:
        """Refuse statistics that were collected from anything but `origin`.

        Raises:
            RequestError: names everything that differs.
        """
        own = self.origin()
        wrong = [
            f"{name} ({_short(own[name])}, not {_short(wanted)})"
            for name, wanted in origin.items()
            if own[name] != wanted
        ]
        if wrong:
            raise RequestError(
                f"the statistics were collected from other {', '.join(wrong)}", mend="collect them again"
            )

    def merge(self, other: "SavedStatistics") -> "SavedStatistics":
        """The statistics of the samples of both: the same, bit for bit, as collecting them together.

        Raises:
            RequestError: they are of different graphs, tensors, kinds or versions, or of a different number of repeats.
            DataError: a sample is in both.
        """
        other.require({name: value for name, value in self.origin().items() if name != "samples"})
        if len(self.numbers) != len(other.numbers):
            raise RequestError(
                f"one has fold numbers for {len(self.numbers)} repeats, the other for {len(other.numbers)}"
            )
        shared = len(set(map(bytes, self.samples)) & set(map(bytes, other.samples)))
        if shared:
            raise DataError(
                f"{shared} samples are in both parts, and would count twice", mend="give each machine its own"
            )
        merged = self.statistics.merge(other.statistics)  # type: ignore[arg-type]  # both are of one kind, see above
        samples, numbers = np.concatenate([self.samples, other.samples]), np.hstack([self.numbers, other.numbers])
        return SavedStatistics(merged, self.graph, self.versions, samples, numbers)

    def save(self, path: Path) -> None:
        """Write them atomically, as .npz.

        Raises:
            OutputError: the folder cannot be written to.
        """
        ranges = _ranges(self.statistics)
        arrays: dict[str, NDArray[Any]] = {
            "origin": np.array(json.dumps(self.origin())), "tensors": np.array(ranges.tensors), "samples": self.samples,
            "numbers": self.numbers, "minimum": ranges.minimum, "maximum": ranges.maximum,
        }  # fmt: skip
        if isinstance(self.statistics, HistogramStatistics):
            arrays["counts"] = self.statistics.counts
        with replacing(path) as draft, draft.open("wb") as stream:
            np.savez_compressed(stream, allow_pickle=False, **arrays)


@dataclass(frozen=True, eq=False)
class Collection:
    """Statistics to be collected: of which tensors of which graph, over which samples in which folds, and of which kind."""

    model: ir.Model
    tensors: Sequence[str]
    dataset: Dataset
    numbers: Indices
    kind: Kind

    def origin(self) -> dict[str, str]:
        """What they are to be collected from, as saved statistics say it."""
        return _origin(self._graph(), _versions(), tuple(self.tensors), self.kind, self._samples(), self.numbers)

    def collect(self) -> RangeStatistics | HistogramStatistics:
        """One pass over the data."""
        collect = collect_histograms if self.kind == "histograms" else collect_ranges
        return collect(self.model, self.tensors, self.dataset, self.numbers)

    def signed(self, statistics: RangeStatistics | HistogramStatistics) -> SavedStatistics:
        """The statistics that `collect` gave, with what they were collected from."""
        return SavedStatistics(statistics, self._graph(), _versions(), self._samples(), self.numbers)

    def stored(self, path: Path) -> RangeStatistics | HistogramStatistics:
        """The statistics in a file, if they are those that `collect` would give; else they are collected and written there."""
        if path.is_file():
            try:
                found = load_statistics(path)
                found.require(self.origin())
            except RequestError as error:
                _logger.info("%s is not reused: %s", path.name, error.problem)
            else:
                _logger.info("%s: reused", path.name)
                return found.statistics
        collected = self.collect()
        self.signed(collected).save(path)
        return collected

    def _graph(self) -> str:
        proto, weights = light_proto(self.model)
        digest = hashlib.sha256(proto.SerializeToString(deterministic=True))
        for array in weights.values():
            digest.update(array.data)
        return digest.hexdigest()

    def _samples(self) -> NDArray[np.uint8]:
        return np.frombuffer(b"".join(self.dataset.digests()), np.uint8).reshape(-1, _DIGEST_BYTES)


def load_statistics(path: Path | str) -> SavedStatistics:
    """Read saved statistics.

    Raises:
        RequestError: missing, damaged, or something else.
    """
    arrays = read_arrays(Path(path))
    try:
        return _read(arrays)
    except (KeyError, ValueError, TypeError) as error:
        raise RequestError(f"{path} holds no statistics: {error}", mend="collect them again") from error


def _read(arrays: dict[str, NDArray[Any]]) -> SavedStatistics:
    low, high, samples, numbers = (arrays[name] for name in ("minimum", "maximum", "samples", "numbers"))
    tensors = tuple(map(str, arrays["tensors"]))
    shape = (len(numbers), int(numbers.max()) + 1, len(tensors))
    _check("minimum", low, np.float32, shape)
    _check("maximum", high, np.float32, shape)
    _check("numbers", numbers, np.intp, (len(numbers), len(samples)))
    _check("samples", samples, np.uint8, (len(samples), _DIGEST_BYTES))
    ranges = RangeStatistics(tensors, low, high)
    statistics: RangeStatistics | HistogramStatistics = ranges
    origin = json.loads(str(arrays["origin"]))
    if origin["kind"] != "ranges":
        _check("counts", arrays["counts"], np.int64, (*shape, BINS))
        statistics = HistogramStatistics(ranges, arrays["counts"])
    saved = SavedStatistics(statistics, origin["graph"], origin["versions"], samples, numbers)
    if saved.origin() != origin:
        raise ValueError("its digests are not those of its contents")
    return saved


def _check(name: str, array: NDArray[Any], dtype: type, shape: tuple[int, ...]) -> None:
    if array.dtype != dtype or array.shape != shape:
        raise ValueError(f"{name} is {array.dtype} {list(array.shape)}, not {np.dtype(dtype)} {list(shape)}")


def _origin(
    graph: str, versions: str, tensors: tuple[str, ...], kind: Kind, samples: NDArray[np.uint8], numbers: Indices
) -> dict[str, str]:
    rows = sorted(bytes(sample) + fold_of.tobytes() for sample, fold_of in zip(samples, numbers.T, strict=True))
    return {
        "graph": graph,
        "samples": hashlib.sha256(b"".join(rows)).hexdigest(),
        "tensors": hashlib.sha256(repr(tensors).encode()).hexdigest(),
        "kind": f"{BINS} bins" if kind == "histograms" else kind,
        "versions": versions,
    }


def _short(value: str) -> str:
    """The beginning of a digest tells it from others; words are left whole."""
    return value[:16] if len(value) == _SHA256_DIGITS else value


def _versions() -> str:
    return f"foldpress {foldpress.__version__}, onnxruntime {onnxruntime.__version__}"


def _ranges(statistics: RangeStatistics | HistogramStatistics) -> RangeStatistics:
    return statistics.ranges if isinstance(statistics, HistogramStatistics) else statistics


def choose_kind(name: str) -> Kind:
    """The kind of that name.

    Raises:
        RequestError: there is no such kind.
    """
    for kind in get_args(Kind):
        if kind == name:
            return kind  # type: ignore[no-any-return]
    raise RequestError(f"there are no statistics {name!r}", available=", ".join(get_args(Kind)))
