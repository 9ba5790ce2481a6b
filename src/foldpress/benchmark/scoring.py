"""From outputs to per-sample scores, whose mean is the metric: accuracy, R², or the user's own. Larger is better."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from foldpress.benchmark.labels import class_axis, counted, labels, shares
from foldpress.callables import load_callable
from foldpress.data import Array, Dataset, check_finite
from foldpress.errors import DataError, GraphError, RequestError

_NAMED_AT_MOST = 5  # samples that a message names


@dataclass(frozen=True)
class Task:
    """How predictions are read from a graph's outputs, and how they are scored.

    `predict` gives [N, …] from the outputs; `score` gives one finite term for each sample, [N], from targets and
    outputs. `has_labels` says whether predictions are classes, so that a changed one counts as a flip, and the score is 1 or 0,
    or the share of right ones where a sample has several. `output` is the position of the only output that is judged; with
    None the first one is, and a metric of the user's gets them all.
    """

    name: str
    metric: str
    has_labels: bool
    predict: Callable[[list[Array]], Array]
    score: Callable[[Array, list[Array]], Array]
    output: int | None = None

    def of(self, outputs: list[Array]) -> list[Array]:
        """The outputs that are judged."""
        return outputs if self.output is None else [outputs[self.output]]


def make_task(task: str, folder: Path, targets: Array) -> Task:
    """The task that a recipe names: classification, regression, or `module:callable` scoring (targets, outputs).

    `targets` are those of the whole data set: their variance is the unit of R², the same for every fold and split.

    Raises:
        RequestError: no such metric.
    """
    if task == "classification":
        predict = partial(labels, positions=targets.shape[1:])
        return Task(task, "accuracy", has_labels=True, predict=predict, score=_accuracy)
    if task == "regression":
        return Task(
            task, "R²", has_labels=False, predict=_values, score=lambda y, outputs: _explained(y, outputs, targets)
        )
    metric = load_callable(task, folder)
    return Task(
        task, task, has_labels=False, predict=_values, score=lambda y, outputs: _users(metric, task, y, outputs)
    )


def output_position(asked: int | str | None, names: Sequence[str]) -> int | None:
    """Where among the outputs of these names the one stands that is asked for: by its name, else by its position from 0.

    Raises:
        RequestError: there is no such output.
    """
    if asked is None:
        return None
    if str(asked) in names:
        return names.index(str(asked))
    if str(asked).isdecimal() and int(asked) < len(names):
        return int(asked)
    raise RequestError(
        f"the network has no output {asked!r}",
        available=", ".join(names),
        mend="outputs of an .onnx file go by name, and all by position, from 0",
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
        DataError: labels that are no integers or out of range, or a sample that is all padding (names the samples); or
            targets that are not finite.
        GraphError: the outputs hold no class for each target.
    """
    targets = dataset.y
    if not task.has_labels:
        check_finite("y", targets)
        return
    if targets.dtype.kind not in "iub":
        raise DataError(
            f"y is {targets.dtype} {list(targets.shape)}; class labels are integers, [N] or [N, …] with one for each "
            "position",
            mend='task = "regression"?',
        )
    classes = _classes(outputs, targets.shape[1:]) if outputs else None
    high = targets >= classes if classes is not None else np.zeros(targets.shape, np.bool_)
    _refuse_labels(dataset, targets, high | (targets < 0) & counted(targets), classes)
    padding = np.flatnonzero(~counted(targets).reshape(len(targets), -1).any(1))
    if len(padding):
        raise DataError(
            f"{len(padding)} samples have no target that counts: {_named(dataset, padding)}; a negative target is padding",
            mend="leave them out",
        )


def _classes(outputs: list[Array], positions: tuple[int, ...]) -> int | None:
    """How many classes the scores tell apart; None for integer labels, of which any may come."""
    labels(outputs, positions)
    return outputs[0].shape[class_axis(outputs[0], positions)] if outputs[0].dtype.kind == "f" else None


def _refuse_labels(dataset: Dataset, targets: Array, wrong: Array, classes: int | None) -> None:
    where = np.argwhere(wrong)
    if len(where):
        shown = ", ".join(f"{targets[tuple(at)]} at index {_index(dataset, at)}" for at in where[:_NAMED_AT_MOST])
        raise DataError(
            f"{len(where)} labels are out of range: {shown}", available=f"0 … {classes - 1}" if classes else "0 and up"
        )


def _index(dataset: Dataset, at: Array) -> int | list[int]:
    """Where the data hold it: the row, or row and position."""
    row = int(dataset.rows[at[0]])
    return row if len(at) == 1 else [row, *map(int, at[1:])]


def _named(dataset: Dataset, rows: Array) -> str:
    shown = ", ".join(str(dataset.rows[row]) for row in rows[:_NAMED_AT_MOST])
    return f"index {shown}{', …' if len(rows) > _NAMED_AT_MOST else ''}"


def _accuracy(targets: Array, outputs: list[Array]) -> Array:
    return shares(labels(outputs, targets.shape[1:]) == targets, counted(targets))


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
