"""Samples as pictures: what counts as an image, and that a picture is that of its sample."""

import base64
import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from foldpress.benchmark.evidence import Paired
from foldpress.benchmark.pictures import as_images, data_uri, flipped_pictures
from foldpress.data import Dataset


def table(rows: Any, flips: list[int]) -> Paired:
    """Samples `rows`, of which those at `flips` changed their prediction."""
    after = np.isin(np.arange(len(rows)), flips).astype(int)
    zeros = np.zeros(len(rows), int)
    return Paired(np.asarray(rows), zeros, zeros, zeros, zeros, after, zeros, zeros)


@pytest.mark.parametrize(
    ("shape", "shown"),
    [
        ((4, 1, 8, 8), (4, 8, 8)),
        ((4, 3, 32, 20), (4, 32, 20, 3)),
        ((4, 32, 20, 3), (4, 32, 20, 3)),
        ((4, 28, 28, 1), (4, 28, 28)),
        ((4, 49, 10), (4, 49, 10)),
        ((4, 16, 8, 8), None),  # feature maps
        ((4, 3, 7, 32), None),
        ((4, 30), None),
        ((4, 3, 8, 8, 8), None),
    ],
)
def test_what_counts_as_an_image(shape: tuple[int, ...], shown: tuple[int, ...] | None) -> None:
    """Catches a table of numbers drawn as a picture, and channels taken for rows."""
    found = as_images(np.zeros(shape, np.float32))
    assert (None if found is None else found.shape) == shown


def test_text_is_no_image() -> None:
    """Catches a crash on arrays that hold no numbers."""
    assert as_images(np.full((2, 8, 8), "a")) is None


def test_each_picture_is_its_own_samples_scaled_from_its_own_range() -> None:
    """Catches pictures of the wrong rows, mixed channels, and one bright sample that darkens all others."""
    generator = np.random.default_rng(3)
    images = generator.normal(size=(10, 3, 9, 12)) * np.arange(1, 11)[:, None, None, None]
    rows = np.array([7, 2, 9, 4])
    dataset = Dataset({"tokens": np.zeros((10, 5)), "x": images}, rows=rows)
    found = flipped_pictures(dataset, table(rows, [1, 3]))
    assert found is not None
    assert found.sample.tolist() == [2, 4]
    for sample, pixels in zip(found.sample, found.pixels, strict=True):
        image = images[sample]
        for row, column, channel in np.ndindex(9, 12, 3):
            share = (image[channel, row, column] - image.min()) / (image.max() - image.min())
            assert pixels[row, column, channel] == round(255 * share)


def test_large_images_shrink_and_flat_ones_do_not_divide_by_zero() -> None:
    """Catches a report of a hundred megabytes, and a warning about nothing divided by nothing."""
    images = np.concatenate([np.full((1, 1, 300, 150), 5.0), np.full((1, 1, 300, 150), -5.0)])
    found = flipped_pictures(Dataset({"x": images}), table([0, 1], [0, 1]))
    assert found is not None
    assert found.pixels.shape == (2, 128, 64)
    assert not found.pixels.any()


def test_no_image_or_no_flip_gives_no_picture() -> None:
    """Catches pictures kept for nothing."""
    assert flipped_pictures(Dataset({"x": np.zeros((3, 5))}), table([0, 1, 2], [1])) is None
    assert flipped_pictures(Dataset({"x": np.zeros((3, 8, 8))}), table([0, 1, 2], [])) is None


@pytest.mark.parametrize("shape", [(8, 8), (8, 10, 3)])
def test_the_address_holds_every_pixel(shape: tuple[int, ...]) -> None:
    """Catches a lossy format, and rows and columns swapped."""
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    head, _, body = data_uri(pixels).partition(",")
    assert head == "data:image/png;base64"
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(base64.b64decode(body)))), pixels)
