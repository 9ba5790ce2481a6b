"""From outputs to per-sample scores, whose mean is the metric: accuracy, R², or the user's own. Larger is better."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from foldpress.callables import load_callable
from foldpress.data import Array, Dataset, check_finite
from foldpress.errors import DataError, GraphError

_NO_CLASS = -1  # what a graph predicts where its scores are no numbers: never right


@dataclass(frozen=True)
class Task:
    """How predictions are read from a graph's outputs, and how they are scored.

    `predict` gives [N, …] from the outputs; `score` gives one finite term for each sample, [N], from targets and
    outputs. `has_labels` says whether predictions are classes, so that a changed one counts as a flip.
    """

    name: str
    metric: str
    has_labels: bool
    predict: Callable[[list[Array]], Array]
    score: Callable[[Array, list[Array]], Array]


def make_task(task: str, folder: Path, targets: Array) -> Task:
    """The task that a recipe names: classification, regression, or `module:callable` scoring (targets, outputs).

    `targets` are those of the whole data set: their variance is the unit of R², the same for every fold and split.

    Raises:
        RequestError: no such metric.
    """
    if task == "classification":
        return Task(task, "accuracy", has_labels=True, predict=labels, score=_accuracy)
    if task == "regression":
        return Task(
            task, "R²", has_labels=False, predict=_values, score=lambda y, outputs: _explained(y, outputs, targets)
        )
    metric = load_callable(task, folder)
    return Task(
        task, task, has_labels=False, predict=_values, score=lambda y, outputs: _users(metric, task, y, outputs)
    )


def labels(outputs: list[Array]) -> Array:
    """Predicted class of each sample, [N], from integer labels [N] or scores [N, C].

    Raises:
        GraphError: the first output is neither.
    """
    first = outputs[0]
    if first.dtype.kind in "iub" and first.size == len(first):
        return first.reshape(-1).astype(np.int64)
    if first.dtype.kind == "f" and first.ndim == 2 and first.shape[1] > 1:  # [N, C]
        # argmax would take NaN for the likeliest class, and might be right by chance.
        return np.where(np.isnan(first).any(1), _NO_CLASS, first.argmax(1))
    raise GraphError(
        f"the first output is {first.dtype} {list(first.shape)}; classes are scores [N, C] or integer labels [N]",
        mend="set [data] task to regression or to your own metric, module:callable",
    )


def check_baseline(dataset: Dataset, outputs: list[Array]) -> None:
    """Refuse a baseline that gives NaN: an artifact that loses nothing against it would prove nothing.

    Raises:
        GraphError: names the first sample.
    """
    first = outputs[0]
    wrong = np.argwhere(np.isnan(first)) if first.dtype.kind == "f" else np.empty((0, 1))
    if len(wrong):
        raise GraphError(
            f"the baseline gives nan for the sample at index {dataset.rows[wrong[0][0]]}",
            mend="look for nan or infinity in its weights: its training may have diverged",
        )


def check_targets(dataset: Dataset, task: Task, outputs: list[Array]) -> None:
    """Refuse targets that the task cannot be scored on; without `outputs`, only what the targets say themselves.

    Raises:
        DataError: labels that are no integers or out of range (names the samples), or targets that are not finite.
    """
    targets = dataset.y
    if not task.has_labels:
        check_finite("y", targets)
        return
    if targets.dtype.kind not in "iub" or targets.ndim != 1:
        raise DataError(
            f"y is {targets.dtype} {list(targets.shape)}; class labels are integers [N]", mend='task = "regression"?'
        )
    scores = bool(outputs) and outputs[0].ndim == 2 and outputs[0].dtype.kind == "f"  # [N, C]; labels may be [N, 1]
    classes = outputs[0].shape[1] if scores else None
    wrong = np.flatnonzero((targets < 0) | (targets >= classes)) if classes is not None else np.flatnonzero(targets < 0)
    if len(wrong):
        shown = ", ".join(f"{targets[i]} at index {dataset.rows[i]}" for i in wrong[:5])
        raise DataError(
            f"{len(wrong)} labels are out of range: {shown}", available=f"0 … {classes - 1}" if classes else "0 and up"
        )


def _accuracy(targets: Array, outputs: list[Array]) -> Array:
    return np.asarray(labels(outputs) == targets, np.float64)


def _explained(targets: Array, outputs: list[Array], all_targets: Array) -> Array:
    """1 − (y − ŷ)² / Var(y), whose mean is R²; over several targets, their mean."""
    wanted, given = _as_columns(targets), _as_columns(_values(outputs))
    if wanted.shape != given.shape:
        raise DataError(f"y is {list(targets.shape)}, the graph predicts {list(outputs[0].shape)}")
    spread = _as_columns(all_targets).var(0)
    if not spread.all():
        raise DataError("the targets are all the same, so R² has no meaning on them")
    return np.asarray((1 - (wanted - given) ** 2 / spread).mean(1))


def _values(outputs: list[Array]) -> Array:
    return outputs[0]


def _as_columns(array: Array) -> Array:
    return array.reshape(len(array), -1).astype(np.float64)


def _users(metric: Callable[..., Any], name: str, targets: Array, outputs: list[Array]) -> Array:
    scores = np.asarray(metric(targets, outputs[0] if len(outputs) == 1 else outputs), np.float64)
    if scores.shape != (len(targets),):
        raise DataError(f"{name} gave {list(scores.shape)}; one score for each of the {len(targets)} samples is needed")
    check_finite(f"{name}(…)", scores)
    return scores
