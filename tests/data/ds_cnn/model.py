"""DS-CNN for keyword spotting (Zhang et al. 2017, as in MLPerf Tiny): depthwise-separable convolutions on MFCC features."""

from torch import Tensor, nn


def normalized(convolution: nn.Conv2d) -> list[nn.Module]:
    """A convolution with batch normalization and ReLU."""
    return [convolution, nn.BatchNorm2d(convolution.out_channels, eps=1e-3), nn.ReLU()]


class DSCNN(nn.Module):
    """Features [N, 1, 49, 10] to scores [N, 12]."""

    def __init__(self) -> None:
        super().__init__()
        layers = normalized(nn.Conv2d(1, 64, (10, 4), 2))
        for _ in range(4):
            layers += normalized(nn.Conv2d(64, 64, 3, 1, 1, groups=64)) + normalized(nn.Conv2d(64, 64, 1))
        self.features = nn.Sequential(*layers)
        self.fc = nn.Linear(64, 12)

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.pad(x, (1, 1, 4, 5))
        scores: Tensor = self.fc(nn.functional.avg_pool2d(self.features(x), (24, 5)).flatten(1))
        return scores


def build() -> nn.Module:
    return DSCNN()
