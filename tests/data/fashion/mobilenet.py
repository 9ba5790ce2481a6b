"""MobileNetV2 in small (Sandler et al. 2018, arXiv:1801.04381): inverted residuals around depthwise convolutions."""

from torch import Tensor, nn

EXPANSION = 6
STEM, HEAD, CLASSES = 16, 256, 10
BLOCKS = ((24, 1), (24, 1), (40, 2), (40, 1), (40, 1), (64, 2), (64, 1))  # channels and stride of each


def convolution(inputs: int, outputs: int, size: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Convolution with batch norm: [N, inputs, H, W] to [N, outputs, H/stride, W/stride]."""
    weights = nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False)
    return nn.Sequential(weights, nn.BatchNorm2d(outputs))


class InvertedResidual(nn.Module):
    """Expand, filter each channel by itself, project: [N, inputs, H, W] to [N, outputs, H/stride, W/stride]."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        inner = EXPANSION * inputs
        self.around = inputs == outputs and stride == 1
        self.layers = nn.Sequential(
            convolution(inputs, inner, 1),
            nn.ReLU6(),
            convolution(inner, inner, 3, stride, groups=inner),
            nn.ReLU6(),
            convolution(inner, outputs, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        inner: Tensor = self.layers(x)
        return x + inner if self.around else inner


def build() -> nn.Module:
    """The untrained network: images [N, 1, 28, 28] to scores [N, 10]."""
    widths = (STEM, *(width for width, _ in BLOCKS))
    blocks = (InvertedResidual(inputs, *block) for inputs, block in zip(widths, BLOCKS, strict=False))
    return nn.Sequential(
        convolution(1, STEM, 3, stride=2),
        nn.ReLU6(),
        *blocks,
        convolution(widths[-1], HEAD, 1),
        nn.ReLU6(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(HEAD, CLASSES),
    )
