"""Metrics of a whole set: macro F1, the area under the ROC curve, and the user's own. Larger is better.

Where a sample has several positions, F1 and the area count positions, all but padding; the bootstrap still draws samples.
"""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np

from foldpress.benchmark.labels import class_axis, counted, labels
from foldpress.callables import load_callable
from foldpress.data import Array
from foldpress.errors import DataError

Metric = Callable[[Array, list[Array]], float]


def make_metric(name: str, folder: Path) -> Metric:
    """The metric of a name: f1 (macro), auc (macro, one class against the rest), or `module:callable`.

    The user's own takes (targets, outputs), as per-sample ones do, and gives one number, larger being better.

    Raises:
        RequestError: no such metric.
    """
    if name in _KNOWN:
        return _KNOWN[name]
    users = load_callable(name, folder)

    def metric(targets: Array, outputs: list[Array]) -> float:
        found = np.asarray(users(targets, outputs[0] if len(outputs) == 1 else outputs))
        if found.shape != () or found.dtype.kind not in "fiub":
            raise DataError(f"{name} gave {found.dtype} {list(found.shape)}; one number for the whole set is needed")
        return float(found)

    return metric


def _f1(targets: Array, outputs: list[Array]) -> float:
    """The mean over the classes that are there or are predicted of 2 · hits / (members + guesses)."""
    where = counted(targets)
    wanted, guessed = targets[where].astype(np.int64), labels(outputs, targets.shape[1:])[where]
    least = min(0, guessed.min())  # what is no number is no class, and still a guess
    both = np.bincount(np.concatenate([wanted, guessed]) - least)
    hits = np.bincount(wanted[wanted == guessed] - least, minlength=len(both))
    return float(np.mean(2 * hits[both > 0] / both[both > 0]))


def _auc(targets: Array, outputs: list[Array]) -> float:
    """Over the classes that some samples have and others have not: a draw may lack one. By the ranks of a class's scores
    among all (Mann and Whitney, 1947), of all classes at once.
    """
    from scipy.stats import rankdata

    scores = outputs[0]
    if scores.dtype.kind != "f":
        raise DataError(f"the area under the ROC curve needs scores of classes; the graph gives {scores.dtype}")
    where = counted(targets)
    scores, wanted = np.moveaxis(scores, class_axis(scores, targets.shape[1:]), -1)[where], targets[where]
    members = np.bincount(wanted, minlength=scores.shape[1])
    others = len(wanted) - members
    ranks = np.bincount(wanted, rankdata(scores, axis=0)[np.arange(len(wanted)), wanted], len(members))
    known = (members > 0) & (others > 0)
    areas = (ranks - members * (members + 1) / 2)[known] / (members * others)[known]
    return float(np.mean(areas)) if known.any() else math.nan


_KNOWN: dict[str, Metric] = {"f1": _f1, "auc": _auc}
