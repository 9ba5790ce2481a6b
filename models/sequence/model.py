"""A small pre-norm transformer encoder that reads an image row by row (Vaswani et al., 2017, arXiv:1706.03762)."""

import torch
from torch import Tensor, nn

ROWS = 28
PIXELS = 28  # of one row
WIDTH = 64
HEADS = 4
LAYERS = 2
CLASSES = 10


class Network(nn.Module):
    """Each row is a token; the mean of the encoded rows is classified: [N, 28, 28] -> logits [N, 10]."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(PIXELS, WIDTH)
        self.positions = nn.Parameter(0.02 * torch.randn(ROWS, WIDTH))
        layer = nn.TransformerEncoderLayer(
            WIDTH, HEADS, dim_feedforward=2 * WIDTH, activation="gelu", batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, LAYERS, nn.LayerNorm(WIDTH), enable_nested_tensor=False)
        self.classify = nn.Linear(WIDTH, CLASSES)

    def forward(self, rows: Tensor) -> Tensor:
        encoded = self.encoder(self.embed(rows) + self.positions)
        logits: Tensor = self.classify(encoded.mean(1))
        return logits


def build() -> nn.Module:
    """The untrained network: images [N, 28, 28] in 0..1, rows first -> logits [N, 10]."""
    return Network()
