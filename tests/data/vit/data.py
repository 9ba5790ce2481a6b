"""CIFAR-10 images as the vision transformer was trained on them: [N, 3, 32, 32] float32, labels [N]."""

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

SHARED = Path(os.environ["FOLDPRESS_SHARED"]) / "cifar10"
MEAN, SPREAD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)

Pair = tuple[NDArray[Any], NDArray[Any]]


def _read(name: str) -> Pair:
    with np.load(SHARED / name) as archive:
        pixels, labels = archive["x"], archive["y"]
    scaled = (pixels.astype(np.float32) / 255 - np.array(MEAN, np.float32)) / np.array(SPREAD, np.float32)
    return np.ascontiguousarray(scaled.transpose(0, 3, 1, 2)), labels


def load() -> Pair:
    return _read("test5000.npz")


def load_train() -> Pair:
    return _read("train2000.npz")
