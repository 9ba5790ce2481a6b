"""Fashion-MNIST (Xiao et al. 2017, arXiv:1708.07747), as Debian's package dataset-fashion-mnist installs it.

FOLDPRESS_FASHION names the folder of the four files where they lie elsewhere.
"""

import gzip
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FOLDER = Path(os.environ.get("FOLDPRESS_FASHION", "/usr/share/datasets/fashion-mnist"))
MEAN, SPREAD = 0.286, 0.353  # of all pixels of the training images
HEADER = {"images": 16, "labels": 8}  # bytes before the first entry of an IDX file

Pair = tuple[NDArray[np.float32], NDArray[np.int64]]


def load() -> Pair:
    """The held-out images, [10000, 1, 28, 28], and their labels, [10000]."""
    return _read("t10k")


def load_train() -> Pair:
    """The images that the networks are trained on, [60000, 1, 28, 28], and their labels, [60000]."""
    return _read("train")


def load_mirrored() -> Pair:
    """The same images and their mirror images, [120000, 1, 28, 28], with their labels, [120000]."""
    images, labels = load_train()
    return np.concatenate([images, images[..., ::-1]]), np.tile(labels, 2)


def _read(part: str) -> Pair:
    pixels = _entries(part, "images").reshape(-1, 1, 28, 28)
    return ((pixels / 255 - MEAN) / SPREAD).astype(np.float32), _entries(part, "labels").astype(np.int64)


def _entries(part: str, what: str) -> NDArray[np.uint8]:
    path = FOLDER / f"{part}-{what}-idx{3 if what == 'images' else 1}-ubyte.gz"
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no {path}: apt-get install dataset-fashion-mnist, or set FOLDPRESS_FASHION to the folder of its files"
        )
    with gzip.open(path) as file:
        return np.frombuffer(file.read(), np.uint8, offset=HEADER[what])
