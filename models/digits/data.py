"""The 1,797 handwritten digits that scikit-learn ships, split once: 40 % to train on, 60 % held out."""

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

Pair = tuple[NDArray[np.float32], NDArray[np.int64]]

BRIGHTEST = 16  # the largest pixel value
HELD_OUT = 0.6  # the larger part: what can be said about the compressed network is limited by it


def load() -> Pair:
    """The held-out part: images [1079, 1, 8, 8] in 0..1, labels [1079]."""
    return _split()[1]


def load_train() -> Pair:
    """The training part: images [718, 1, 8, 8] in 0..1, labels [718]."""
    return _split()[0]


def _split() -> tuple[Pair, Pair]:
    pixels, digits = load_digits(return_X_y=True)
    images = (pixels / BRIGHTEST).astype(np.float32).reshape(-1, 1, 8, 8)
    labels = digits.astype(np.int64)
    parts = train_test_split(images, labels, test_size=HELD_OUT, stratify=labels, random_state=0)
    train_images, held_out_images, train_labels, held_out_labels = parts
    return (train_images, train_labels), (held_out_images, held_out_labels)
