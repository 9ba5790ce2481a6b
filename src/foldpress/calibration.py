"""Calibration statistics of samples that lie in files: collected on as many machines as there are, and found again."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foldpress.data import Dataset, Indices, fit_inputs
from foldpress.errors import DataError
from foldpress.graph import input_specs, load_graph
from foldpress.optimizer.cleanup import clean_up
from foldpress.optimizer.collection import Collection, choose_kind
from foldpress.optimizer.passes import LogEntry, apply
from foldpress.optimizer.samples import calibration_rows, shortage
from foldpress.optimizer.saved_statistics import SavedStatistics, load_statistics, sign
from foldpress.optimizer.weights import automatic_passes
from foldpress.sources import read_data
from foldpress.weight_passes import choose_weights

_SAMPLES = 512


@dataclass(frozen=True, eq=False)
class Drawn:
    """Rows of the data to calibrate on, [n], their fold numbers, [repeats, n], and what the log says of them."""

    rows: Indices
    numbers: Indices
    log: tuple[LogEntry, ...]


def collect_statistics(
    graph: Path | str,
    *,
    data: str,
    numbers: Indices | None = None,
    kind: str = "histograms",
    weight_passes: str | Sequence[str] = "auto",
    folder: Path | str = ".",
) -> SavedStatistics:
    """All that static int8 learns from samples, over all samples of `data`.

    Statistics of disjoint samples merge, `one.merge(other)`, into what collecting them together gives; `save` and
    `load_statistics` carry them from one machine to another, and `quantize(statistics=FILE)` takes them.

    Args:
        graph: a float .onnx file.
        data: the samples, as `[data] source` names them; targets are not needed.
        numbers: fold number of each sample, [N], or in each of several repeats, [repeats, N]; None puts all in one fold.
        kind: histograms, which every method of calibration but minmax takes, or ranges, which minmax takes.
        weight_passes: passes over weights that are to learn from them, as `quantize` names them.
        folder: where modules and relative paths of `data` are found.

    Raises:
        RequestError: graph, data, kind or passes are wrong.
    """
    chosen, passes = choose_kind(kind), choose_weights(weight_passes)
    model = load_graph(Path(graph))
    dataset = fit_inputs(read_data(data, Path(folder)), input_specs(model))
    fold_of = np.zeros(len(dataset), np.intp) if numbers is None else np.asarray(numbers)
    if fold_of.dtype.kind not in "iu" or fold_of.shape[-1:] != (len(dataset),) or fold_of.ndim > 2 or fold_of.min() < 0:
        raise DataError(
            f"fold numbers are {fold_of.dtype} {list(fold_of.shape)} for {len(dataset)} samples",
            mend="give one integer from 0 on for each sample, in each repeat",
        )
    cleaned = apply(clean_up(), model).model
    rows = np.atleast_2d(fold_of).astype(np.intp)
    collection = Collection(cleaned, dataset, rows, chosen, automatic_passes(cleaned) if passes is None else passes)
    return sign(collection, collection.collect())


def draw(
    dataset: Dataset, *, samples: int | None = None, seed: int | None = None, statistics: Path | None = None
) -> Drawn:
    """The samples to calibrate on: those of a file of statistics, if there is one, or some of `dataset`, in one fold.

    Samples of a file that are not all in the data, or are not those that `samples` and `seed` draw, are left for whoever takes
    the statistics to refuse, together with all else that differs.

    Args:
        dataset: under the graph's input names.
        samples: how many, or None for 512 or as many as the file holds.
        seed: of the draw, or None for 0.
        statistics: a file, which need not exist yet.

    Raises:
        RequestError: the file is damaged.
    """
    wanted = _SAMPLES if samples is None else samples
    one_fold = np.zeros((1, len(dataset)), np.intp)  # nothing is judged, so nothing is held out
    rows = calibration_rows(one_fold, wanted, seed or 0)
    if statistics is None or not statistics.exists():
        return Drawn(rows, one_fold[:, rows], shortage(one_fold[:, rows], wanted))
    saved = load_statistics(statistics)
    row_of = dict(zip(dataset.digests(), range(len(dataset)), strict=True))
    found = [row_of.get(bytes(sample), -1) for sample in saved.samples]
    as_asked = (samples, seed) == (None, None) or _same_samples(saved.samples, dataset.select(rows))
    if min(found) < 0 or not as_asked:
        return Drawn(rows, one_fold[:, rows], ())
    entry = LogEntry("calibration", "samples", "done", f"the {len(found)} of {statistics.name}")
    return Drawn(np.array(found), saved.numbers, (entry,))


def _same_samples(digests: NDArray[np.uint8], dataset: Dataset) -> bool:
    return sorted(map(bytes, digests)) == sorted(dataset.digests())
