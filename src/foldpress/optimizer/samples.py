"""Which samples calibrate, and what is said where there are too few."""

import numpy as np

from foldpress.data import Indices
from foldpress.optimizer.passes import LogEntry


def calibration_rows(numbers: Indices, samples: int, seed: int) -> Indices:
    """Samples to calibrate on, sorted: about `samples` remain when any one fold is left out.

    Args:
        numbers: fold number of every sample, [repeats, N].
        samples: how many are wanted.
        seed: of the draw.
    """
    folds = int(numbers.max()) + 1
    wanted = -(-samples // max(folds - 1, 1))
    generator = np.random.default_rng(seed)
    chosen = [generator.permutation(np.flatnonzero(numbers[0] == fold))[:wanted] for fold in range(folds)]
    return np.sort(np.concatenate(chosen))


def shortage(numbers: Indices, samples: int) -> tuple[LogEntry, ...]:
    """What the log says where fewer calibration samples are there than were asked for.

    Args:
        numbers: fold number of every calibration sample, [repeats, N].
        samples: how many were asked for.
    """
    counts = np.bincount(numbers[0])
    several = len(counts) > 1
    available = int(counts.sum() - (counts.max() if several else 0))
    if available >= samples:
        return ()
    whose = " when a fold is left out" if several else ""
    return (LogEntry("calibration", "samples", "declined", f"asked for {samples}, {available} available{whose}"),)
