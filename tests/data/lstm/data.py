"""Spoken digits as spectrograms [N, 64, 64] float32, labels [N]. Splits 1 and 2 were held out from training."""

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Pair = tuple[NDArray[Any], NDArray[Any]]


def _read(splits: list[int]) -> Pair:
    with np.load(Path(os.environ["FOLDPRESS_SHARED"]) / "spoken_digits" / "fsdd_spectrograms.npz") as archive:
        chosen = np.isin(archive["split"], splits)
        scaled = (archive["x"][chosen].astype(np.float32) - archive["train_mean"]) / (archive["train_std"] + 1e-5)
        return scaled.astype(np.float32), archive["y"][chosen].astype(np.int64)


def load() -> Pair:
    return _read([1, 2])


def load_train() -> Pair:
    return _read([0])
