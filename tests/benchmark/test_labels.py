"""Classes at each position: which axis holds them, what they are, and what is refused."""

import numpy as np
import pytest

from foldpress.benchmark.labels import class_axes, counted, labels, shares
from foldpress.errors import GraphError

GENERATOR = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("shape", "positions", "axes"),
    [
        ((5, 10), (), [1]),
        ((5, 1), (), []),
        ((5, 7, 3), (7,), [2]),
        ((5, 3, 7), (7,), [1]),
        ((5, 3, 8, 8), (8, 8), [1]),
        ((5, 8, 8, 3), (8, 8), [3]),
        ((5, 8, 8, 8), (8, 8), [1, 2, 3]),
        ((5, 4, 4), (4,), [1, 2]),
        ((5, 4, 3), (), []),
        ((5, 4, 3), (6,), []),
    ],
)
def test_the_axis_that_is_not_in_the_targets(
    shape: tuple[int, ...], positions: tuple[int, ...], axes: list[int]
) -> None:
    """Catches the last axis, or the second, taken for the classes whatever the targets are."""
    assert class_axes(shape, positions) == axes


@pytest.mark.parametrize(("shape", "positions"), [((4, 6, 3), (6,)), ((4, 3, 6), (6,)), ((4, 3, 5, 6), (5, 6))])
def test_labels_are_those_of_a_loop(shape: tuple[int, ...], positions: tuple[int, ...]) -> None:
    """Catches an argmax along another axis, and NaN taken for the likeliest class."""
    scores = GENERATOR.normal(size=shape).astype(np.float32)
    (axis,) = class_axes(shape, positions)
    last = np.moveaxis(scores, axis, -1)  # a view
    last[0][(0,) * len(positions)] = np.nan
    found = labels([scores], positions)
    for at in np.ndindex(found.shape):
        position = last[at].tolist()
        assert found[at] == (-1 if np.isnan(position).any() else position.index(max(position)))


def test_an_axis_that_may_be_either_is_refused_with_the_shapes_and_the_way_out() -> None:
    """Catches a guess where tokens are as many as classes."""
    with pytest.raises(GraphError, match=r"\[2, 4, 4\]; with targets \[N, 4\] .* axis 1 or axis 2") as refused:
        labels([np.zeros((2, 4, 4), np.float32)], (4,))
    assert "ArgMax" in str(refused.value)


def test_integer_labels_by_position() -> None:
    """Catches integer maps that are turned on their side, and axes of one that get in the way."""
    given = GENERATOR.integers(0, 3, (2, 1, 5, 6))
    assert labels([given], (5, 6)).tolist() == given[:, 0].tolist()
    with pytest.raises(GraphError, match=r"int64 \[2, 1, 5, 6\]"):
        labels([given], (6, 5))


def test_padding_counts_for_nothing() -> None:
    """Catches padded tokens among the right ones, and in the number that a share is of."""
    targets = np.array([[1, 2, -100], [0, -1, -1]])
    assert shares(np.array([[True, False, True], [True, True, True]]), counted(targets)).tolist() == [0.5, 1.0]
    assert counted(np.array([3, 0])).tolist() == [True, True]
