"""A plain network that ends in three dense layers (Simonyan & Zisserman 2015, arXiv:1409.1556)."""

from torch import nn

STAGES = ((32, 32), (64, 64), (128,))  # channels of the convolutions before each pooling
DENSE, CLASSES = (256, 128), 10
PIXELS = 3 * 3  # what three poolings leave of 28 × 28


def stage(inputs: int, widths: tuple[int, ...]) -> list[nn.Module]:
    """3 × 3 convolutions with batch norm, then pooling: [N, inputs, H, W] to [N, widths[-1], H/2, W/2]."""
    layers: list[nn.Module] = []
    for before, width in zip((inputs, *widths), widths, strict=False):
        layers += [nn.Conv2d(before, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
    return [*layers, nn.MaxPool2d(2)]


def build() -> nn.Module:
    """The untrained network: images [N, 1, 28, 28] to scores [N, 10]."""
    inputs = (1, *(widths[-1] for widths in STAGES))
    convolutions = [layer for before, widths in zip(inputs, STAGES, strict=False) for layer in stage(before, widths)]
    first, second = DENSE
    return nn.Sequential(
        *convolutions,
        nn.Flatten(),
        nn.Linear(inputs[-1] * PIXELS, first),
        nn.ReLU(),
        nn.Linear(first, second),
        nn.ReLU(),
        nn.Linear(second, CLASSES),
    )
