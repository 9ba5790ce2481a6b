"""Statistics as a file, with digests of all that they were collected from.

The file is an .npz of plain arrays and is never unpickled. Statistics that were collected elsewhere, or before, are only as
good as the proof that they belong to this graph, these samples and these options: what differs is named, and refused. Since
statistics merge, so do files: parts of the samples may be collected on several machines.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

import foldpress
from foldpress.data import Indices
from foldpress.errors import DataError, RequestError
from foldpress.external import graph_digest
from foldpress.files import read_arrays, write_arrays
from foldpress.optimizer.collection import DIGEST_BYTES, Collection, Kind
from foldpress.optimizer.gram import GramStatistics
from foldpress.optimizer.histogram import BINS, HistogramStatistics
from foldpress.optimizer.learning import Learning
from foldpress.optimizer.means import MeanStatistics
from foldpress.optimizer.statistics import RangeStatistics

_SHA256_DIGITS, _SHOWN_DIGITS = 64, 16


@dataclass(frozen=True, eq=False)
class SavedStatistics:
    """Statistics, and what they were collected from.

    Args:
        statistics: by fold, `without(fold)` and `all()` merge them.
        graph: SHA-256 of the graph.
        versions: of foldpress and onnxruntime: another one may round otherwise.
        samples: the digest of every sample's inputs, [N, 16] bytes.
        numbers: fold number of every sample in each repeat, [repeats, N].
    """

    statistics: Learning
    graph: str
    versions: str
    samples: NDArray[np.uint8]
    numbers: Indices

    def origin(self) -> dict[str, str]:
        """What the statistics were collected from and how, in words and digests; the order of samples does not count."""
        learned = self.statistics
        kind: Kind = "histograms" if isinstance(learned.found, HistogramStatistics) else "ranges"
        listed = learned.ranges.tensors, tuple(learned.means.sums), tuple(learned.grams.grams)
        return _origin(self.graph, self.versions, kind, listed, self.samples, self.numbers)

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
        """The statistics of the samples of both, as collecting them together gives them.

        Ranges and histograms are the same bit for bit. Means and Gram matrices are sums, which another order rounds otherwise;
        and a convolution's Gram matrix takes other places of a sample where the sample has another number.

        Raises:
            RequestError: they are of different graphs, options or versions, or of a different number of repeats.
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
        merged = self.statistics.merge(other.statistics)
        samples, numbers = np.concatenate([self.samples, other.samples]), np.hstack([self.numbers, other.numbers])
        return SavedStatistics(merged, self.graph, self.versions, samples, numbers)

    def save(self, path: Path) -> None:
        """Write them atomically, as .npz.

        Raises:
            OutputError: the folder cannot be written to.
        """
        learned = self.statistics
        arrays: dict[str, NDArray[Any]] = {
            "origin": np.array(json.dumps(self.origin())), "samples": self.samples, "numbers": self.numbers,
            "tensors": np.array(learned.ranges.tensors),
            "minimum": learned.ranges.minimum, "maximum": learned.ranges.maximum,
        }  # fmt: skip
        if isinstance(learned.found, HistogramStatistics):
            arrays["counts"] = learned.found.counts
        for kind, by_layer in (("mean", learned.means.sums), ("gram", learned.grams.grams)):
            arrays[f"{kind}_layers"] = np.array(tuple(by_layer), np.str_)
            arrays |= {f"{kind}{number}": array for number, array in enumerate(by_layer.values())}
        write_arrays(path, arrays)


def sign(collection: Collection, collected: Learning) -> SavedStatistics:
    """Statistics with what they were collected from."""
    graph, samples = graph_digest(collection.model), collection.sample_digests()
    return SavedStatistics(collected, graph, _versions(), samples, collection.numbers)


def requirements(collection: Collection) -> dict[str, str]:
    """The origin of the statistics that a collection would give."""
    names = [tuple(layer.name for layer in layers) for layers in (collection.mean_layers, collection.gram_layers)]
    samples = collection.sample_digests()
    listed = (collection.tensors, names[0], names[1])
    return _origin(graph_digest(collection.model), _versions(), collection.kind, listed, samples, collection.numbers)


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
    cells = (len(numbers), int(numbers.max()) + 1)
    _check("minimum", low, np.float32, (*cells, len(tensors)))
    _check("maximum", high, np.float32, (*cells, len(tensors)))
    _check("numbers", numbers, np.intp, (len(numbers), len(samples)))
    _check("samples", samples, np.uint8, (len(samples), DIGEST_BYTES))
    ranges = RangeStatistics(tensors, low, high)
    found: RangeStatistics | HistogramStatistics = ranges
    origin = json.loads(str(arrays["origin"]))
    if origin["kind"] != "ranges":
        _check("counts", arrays["counts"], np.int64, (*cells, len(tensors), BINS))
        found = HistogramStatistics(ranges, arrays["counts"])
    counts = np.stack([np.bincount(fold_of, minlength=cells[1]) for fold_of in numbers])
    means = MeanStatistics(_by_layer(arrays, "mean", cells), counts)
    learned = Learning(found, GramStatistics(_by_layer(arrays, "gram", cells)), means)
    saved = SavedStatistics(learned, origin["graph"], origin["versions"], samples, numbers)
    if saved.origin() != origin:
        raise ValueError("its digests are not those of its contents")
    return saved


def _by_layer(arrays: dict[str, NDArray[Any]], kind: str, cells: tuple[int, int]) -> dict[str, NDArray[np.float64]]:
    found = {str(name): arrays[f"{kind}{number}"] for number, name in enumerate(arrays[f"{kind}_layers"])}
    for name, array in found.items():
        _check(f"{kind} of {name}", array, np.float64, (*cells, *array.shape[2:]))
    return found


def _check(name: str, array: NDArray[Any], dtype: type, shape: tuple[int, ...]) -> None:
    if array.dtype != dtype or array.shape != shape:
        raise ValueError(f"{name} is {array.dtype} {list(array.shape)}, not {np.dtype(dtype)} {list(shape)}")


def _origin(
    graph: str,
    versions: str,
    kind: Kind,
    listed: tuple[Sequence[str], Sequence[str], Sequence[str]],
    samples: NDArray[np.uint8],
    numbers: Indices,
) -> dict[str, str]:
    tensors, means, grams = map(_listed, listed)
    rows = sorted(bytes(sample) + fold_of.tobytes() for sample, fold_of in zip(samples, numbers.T, strict=True))
    return {
        "graph": graph,
        "samples": hashlib.sha256(b"".join(rows)).hexdigest(),
        "kind": f"{BINS} bins" if kind == "histograms" else kind,
        "tensors": tensors,
        "layers for bias-correction": means,
        "layers for gptq": grams,
        "versions": versions,
    }


def _listed(names: Sequence[str]) -> str:
    """How many names, and a digest of them."""
    digest = hashlib.sha256(repr(tuple(names)).encode()).hexdigest()
    return f"{len(names)}, {digest[:_SHOWN_DIGITS]}" if names else "none"


def _short(value: str) -> str:
    """The beginning of a digest tells it from others; words are left whole."""
    return value[:_SHOWN_DIGITS] if len(value) == _SHA256_DIGITS else value


def _versions() -> str:
    return f"foldpress {foldpress.__version__}, onnxruntime {onnxruntime.__version__}"
