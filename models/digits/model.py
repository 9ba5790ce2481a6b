"""A small residual network for images of 8 x 8 pixels (He et al., 2016, arXiv:1512.03385)."""

from torch import Tensor, nn
from torch.nn import functional as F

WIDTHS = (64, 64, 128)  # channels at 8 x 8, 4 x 4 and 2 x 2 pixels
CLASSES = 10


def convolution(inputs: int, outputs: int, size: int, stride: int = 1) -> nn.Sequential:
    """Convolution with batch norm: [N, inputs, H, W] -> [N, outputs, H / stride, W / stride]."""
    weights = nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=False)
    return nn.Sequential(weights, nn.BatchNorm2d(outputs))


class Residual(nn.Module):
    """Two 3 x 3 convolutions and a way around them: [N, inputs, H, W] -> [N, outputs, H / stride, W / stride]."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = convolution(inputs, outputs, 3, stride)
        self.second = convolution(outputs, outputs, 3)
        same = inputs == outputs and stride == 1
        self.shortcut = nn.Identity() if same else convolution(inputs, outputs, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.second(F.relu(self.first(x))) + self.shortcut(x))


def build() -> nn.Module:
    """The untrained network: images [N, 1, 8, 8] in 0..1 -> logits [N, 10]."""
    first, second, third = WIDTHS
    return nn.Sequential(
        convolution(1, first, 3),
        nn.ReLU(),
        Residual(first, first, stride=1),
        Residual(first, second, stride=2),
        Residual(second, third, stride=2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(third, CLASSES),
    )
