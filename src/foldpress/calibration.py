"""Calibration statistics of part of the samples: collected on as many machines as there are, saved, and merged."""

from pathlib import Path

import numpy as np

from foldpress.data import Indices, fit_inputs
from foldpress.errors import DataError
from foldpress.graph import input_specs, load_graph
from foldpress.optimizer.cleanup import clean_up
from foldpress.optimizer.passes import apply
from foldpress.optimizer.saved_statistics import Collection, SavedStatistics, choose_kind
from foldpress.optimizer.static_int8 import tensors_to_calibrate
from foldpress.sources import read_data


def collect_statistics(
    graph: Path | str,
    *,
    data: str,
    numbers: Indices | None = None,
    kind: str = "histograms",
    folder: Path | str = ".",
) -> SavedStatistics:
    """Statistics of every tensor that static int8 needs a range for, over all samples of `data`.

    Statistics of disjoint samples merge, `one.merge(other)`, into what collecting them together gives, bit for bit;
    `save` and `load_statistics` carry them from one machine to another.

    Args:
        graph: a float .onnx file.
        data: the samples, as `[data] source` names them; targets are not needed.
        numbers: fold number of each sample, [N], or in each of several repeats, [repeats, N]; None puts all in one fold.
        kind: histograms, which every method of calibration can use, or ranges, which do for minmax.
        folder: where modules and relative paths of `data` are found.

    Raises:
        RequestError: graph, data or kind are wrong.
    """
    chosen = choose_kind(kind)
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
    collection = Collection(cleaned, tensors_to_calibrate(cleaned), dataset, rows, chosen)
    return collection.signed(collection.collect())
