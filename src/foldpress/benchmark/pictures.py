"""Samples as small pictures for the report, where an input is an image."""

import base64
import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from foldpress.benchmark.evidence import Paired, Pictures
from foldpress.benchmark.flips import SHOWN_AT_MOST, flipped
from foldpress.data import Array, Dataset

_CHANNELS = (1, 3)
_SIDE_AT_LEAST, _SIDE_AT_MOST = 8, 128  # pixels: less shows nothing, more makes the page heavy
_WHITE = 255

Pixels = NDArray[np.uint8]


def flipped_pictures(dataset: Dataset, test: Paired) -> Pictures | None:
    """The flipped samples that the report shows, by the first input that is an image; None where none is.

    Args:
        dataset: the test split, in the order of the table.
        test: its predictions.
    """
    rows = flipped(test)[:SHOWN_AT_MOST]
    if not len(rows):
        return None
    for array in dataset.batch(rows).values():
        images = as_images(array)
        if images is not None:
            return Pictures(test.sample[rows], np.stack([_thumbnail(image) for image in images]))
    return None


def as_images(array: Array) -> Array | None:
    """Samples as gray [N, H, W] or colored [N, H, W, 3] images; None where they are none.

    Images are [N, C, H, W], [N, H, W, C] or [N, H, W] with one or three channels and at least 8 × 8 pixels.
    """
    if array.dtype.kind not in "fiub":
        return None
    if array.ndim == 4 and array.shape[1] in _CHANNELS:
        array = np.moveaxis(array, 1, -1)
    if array.ndim not in (3, 4) or (array.ndim == 4 and array.shape[-1] not in _CHANNELS):
        return None
    if min(array.shape[1:3]) < _SIDE_AT_LEAST:
        return None
    return array[..., 0] if array.ndim == 4 and array.shape[-1] == 1 else array


def data_uri(pixels: Pixels) -> str:
    """A picture [H, W] or [H, W, 3] as a PNG inside an address, for a page that asks no network."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"


def _thumbnail(image: Array) -> Pixels:
    """Scaled from its own minimum and maximum to 0 … 255, and no larger than needed."""
    values = image.astype(np.float64)
    low, span = values.min(), np.ptp(values)
    scaled = (values - low) / span if span else np.zeros_like(values)
    picture: Any = Image.fromarray(np.rint(_WHITE * scaled).astype(np.uint8))
    picture.thumbnail((_SIDE_AT_MOST, _SIDE_AT_MOST), Image.Resampling.BOX)
    return np.asarray(picture)
