"""The 442 diabetes patients of Efron et al. (2004) that scikit-learn ships, split once: 40 % to train on."""

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_diabetes
from sklearn.model_selection import train_test_split

Pair = tuple[NDArray[np.float32], NDArray[np.float32]]

HELD_OUT = 0.6  # the larger part: what can be said about the compressed network is limited by it


def load() -> Pair:
    """The held-out part: measurements [266, 10], and the progression of the disease a year later [266]."""
    return _split()[1]


def load_train() -> Pair:
    """The training part: measurements [176, 10], and the progression of the disease a year later [176]."""
    return _split()[0]


def _split() -> tuple[Pair, Pair]:
    measurements, progression = load_diabetes(return_X_y=True, scaled=False)
    inputs, targets = measurements.astype(np.float32), progression.astype(np.float32)
    parts = train_test_split(inputs, targets, test_size=HELD_OUT, random_state=0)
    train_inputs, held_out_inputs, train_targets, held_out_targets = parts
    return (train_inputs, train_targets), (held_out_inputs, held_out_targets)
