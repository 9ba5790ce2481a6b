"""A residual network of wide layers for images of 28 × 28 pixels (He et al. 2016, arXiv:1512.03385)."""

from torch import Tensor, nn
from torch.nn import functional

WIDTHS = (64, 128, 256)  # channels at 14 × 14, 7 × 7 and 4 × 4 pixels
CLASSES = 10


def convolution(inputs: int, outputs: int, size: int, stride: int = 1) -> nn.Sequential:
    """Convolution with batch norm: [N, inputs, H, W] to [N, outputs, H/stride, W/stride]."""
    weights = nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False)
    return nn.Sequential(weights, nn.BatchNorm2d(outputs))


class Residual(nn.Module):
    """Two 3 × 3 convolutions and a way around them, [N, inputs, H, W] to [N, outputs, H/stride, W/stride]."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = convolution(inputs, outputs, 3, stride)
        self.second = convolution(outputs, outputs, 3)
        self.shortcut = nn.Identity() if inputs == outputs else convolution(inputs, outputs, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.second(functional.relu(self.first(x)))
        return functional.relu(inner + self.shortcut(x))


def build() -> nn.Module:
    """The untrained network: images [N, 1, 28, 28] to scores [N, 10]."""
    first, second, third = WIDTHS
    return nn.Sequential(
        convolution(1, first, 3, stride=2),
        nn.ReLU(),
        Residual(first, first, stride=1),
        Residual(first, second, stride=2),
        Residual(second, third, stride=2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(third, CLASSES),
    )
