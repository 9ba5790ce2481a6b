"""From outputs to classes: one for each sample, or one for each position of a sequence or an image.

Targets say where the positions are: [N] has none, [N, T] has tokens or time steps, [N, H, W] pixels. Scores have one axis more,
that of the classes, and it may stand anywhere behind the samples: it is the one without which their shape is the targets'.
A negative target marks padding, which counts for nothing.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foldpress.data import Array
from foldpress.errors import GraphError

_NO_CLASS = -1  # what a graph predicts where its scores are no numbers: never right


def class_axes(shape: Sequence[int], positions: Sequence[int]) -> list[int]:
    """Every axis of scores [N, …] that may be the one of the classes, where targets are [N, *positions]."""
    shape = tuple(shape)
    return [
        axis
        for axis in range(1, len(shape))
        if shape[axis] > 1 and shape[1:axis] + shape[axis + 1 :] == tuple(positions)
    ]


def class_axis(scores: Array, positions: Sequence[int]) -> int:
    """The axis of scores [N, …] that holds the classes, where targets are [N, *positions].

    Raises:
        GraphError: no axis can be it, or several can.
    """
    axes = class_axes(scores.shape, positions)
    if len(axes) == 1:
        return axes[0]
    targets = f"targets [{', '.join(['N', *map(str, positions)])}]"
    given = f"the first output is {scores.dtype} {list(scores.shape)}"
    if axes:
        raise GraphError(
            f"{given}; with {targets} its classes may be axis {' or axis '.join(map(str, axes))}",
            mend="end the graph in ArgMax over the classes, for integer labels leave no doubt; or set [data] task to a "
            "metric of your own, module:callable",
        )
    raise GraphError(
        f"{given}; with {targets} classes are scores of that shape with one axis more, as [N, C] for targets [N], or "
        "integer labels of that shape",
        mend="set [data] task to regression or to your own metric, module:callable; where the targets belong to another "
        "output, name that: [data] output, or validate --judged-output",
    )


def labels(outputs: list[Array], positions: Sequence[int] = ()) -> NDArray[np.int64]:
    """Predicted classes, [N, *positions], from integer labels of that shape or from scores with an axis for the classes.

    Raises:
        GraphError: the first output is neither.
    """
    first = outputs[0]
    if first.dtype.kind in "iub" and _without_ones(first.shape[1:]) == _without_ones(positions):
        return first.reshape(len(first), *positions).astype(np.int64)
    if first.dtype.kind != "f":
        raise GraphError(
            f"the first output is {first.dtype} {list(first.shape)}, and the targets have the shape "
            f"[{', '.join(['N', *map(str, positions)])}]; integer labels have the same",
            mend="set [data] task to your own metric, module:callable",
        )
    axis = class_axis(first, positions)
    # argmax would take NaN for the likeliest class, and might be right by chance.
    return np.where(np.isnan(first).any(axis), _NO_CLASS, first.argmax(axis))


def counted(targets: Array) -> NDArray[np.bool_]:
    """Which positions count: all but padding. Without positions every sample does."""
    return np.asarray(targets >= 0) if targets.ndim > 1 else np.ones(len(targets), np.bool_)


def shares(events: NDArray[Any], where: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The share of each sample's positions with an event, [N], among those that count; both are [N, …]."""
    within = tuple(range(1, events.ndim))
    return np.asarray((events & where).sum(within) / where.sum(within))


def _without_ones(shape: Sequence[int]) -> list[int]:
    return [size for size in shape if size != 1]
