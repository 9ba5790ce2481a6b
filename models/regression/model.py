"""A multilayer perceptron that predicts one number from ten measurements."""

import torch
from torch import Tensor, nn

FEATURES = 10
WIDTH = 128


class Standardize(nn.Module):
    """Bring every column of [N, features] to mean 0 and deviation 1, by statistics kept with the weights."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("deviation", torch.ones(features))

    def fit(self, inputs: Tensor) -> None:
        """Take the statistics from inputs [N, features]: those of the training part alone."""
        self.mean = inputs.mean(0)
        self.deviation = inputs.std(0)

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.deviation


class Network(nn.Module):
    """Standardized inputs and target, two hidden layers: [N, 10] -> [N]."""

    target_mean: Tensor
    target_deviation: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.standardize = Standardize(FEATURES)
        self.layers = nn.Sequential(
            nn.Linear(FEATURES, WIDTH),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Linear(WIDTH, WIDTH),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Linear(WIDTH, 1),
            nn.Flatten(0),
        )
        self.register_buffer("target_mean", torch.zeros(()))
        self.register_buffer("target_deviation", torch.ones(()))

    def fit_scales(self, inputs: Tensor, targets: Tensor) -> None:
        """Take mean and deviation from inputs [N, 10] and targets [N]: those of the training part alone."""
        self.standardize.fit(inputs)
        self.target_mean, self.target_deviation = targets.mean(), targets.std()

    def forward(self, x: Tensor) -> Tensor:
        standardized: Tensor = self.layers(self.standardize(x))
        return standardized * self.target_deviation + self.target_mean


def build() -> Network:
    """The untrained network: raw measurements [N, 10] -> disease progression [N]."""
    return Network()
