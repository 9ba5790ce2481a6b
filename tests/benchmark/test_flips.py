"""Which samples flipped, and in which order they are shown."""

from typing import Any

import numpy as np

from foldpress.benchmark.evidence import Paired
from foldpress.benchmark.flips import flipped, flips


def table(target: Any, baseline: Any, artifact: Any) -> Paired:
    """A table of predictions, of samples 100, 101, …"""
    target, baseline, artifact = (np.asarray(column) for column in (target, baseline, artifact))
    zeros = np.zeros(len(target))
    return Paired(100 + np.arange(len(zeros)), zeros, zeros, target, baseline, artifact, zeros, zeros)


def test_what_was_lost_comes_first() -> None:
    """Catches a gallery that opens with changes that do not matter."""
    found = flips(table([1, 1, 1, 1, 1], [1, 2, 2, 1, 1], [1, 3, 1, 4, 0]))
    assert [(one.sample, one.meaning) for one in found] == [
        (103, "lost"),
        (104, "lost"),
        (102, "mended"),
        (101, "wrong before and after"),
    ]
    assert (found[0].target, found[0].baseline, found[0].artifact) == (1, 1, 4)


def test_numbers_and_sequences_do_not_flip() -> None:
    """Catches 240 'flips' of a regression, and a crash on predictions of more axes."""
    assert not len(flipped(table([0.5], [0.4], [0.6])))
    assert not len(flipped(table(np.zeros((3, 2), int), np.zeros((3, 2), int), np.ones((3, 2), int))))
