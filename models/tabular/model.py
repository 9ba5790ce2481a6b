"""A multilayer perceptron for the eight answers of a questionnaire."""

import torch
from torch import Tensor, nn

FEATURES = 8
WIDTH = 128
CLASSES = 2


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
    """Standardized inputs, two hidden layers: [N, 8] -> logits [N, 2]."""

    def __init__(self) -> None:
        super().__init__()
        self.standardize = Standardize(FEATURES)
        self.layers = nn.Sequential(
            nn.Linear(FEATURES, WIDTH),
            nn.ReLU(),
            nn.Dropout(0.3),
            nn.Linear(WIDTH, WIDTH),
            nn.ReLU(),
            nn.Dropout(0.3),
            nn.Linear(WIDTH, CLASSES),
        )

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.layers(self.standardize(x))
        return logits


def build() -> Network:
    """The untrained network: raw answers [N, 8] -> logits [N, 2]."""
    return Network()
