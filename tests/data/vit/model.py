"""A small vision transformer (Dosovitskiy et al. 2021): patches of 4 pixels, width 128, six post-norm encoder layers."""

import torch
from torch import Tensor, nn

WIDTH, PATCHES = 128, 64


class Patches(nn.Module):
    """Images [N, 3, 32, 32] to tokens [N, 64, 128]."""

    def __init__(self) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, WIDTH, 4, 4)

    def forward(self, x: Tensor) -> Tensor:
        tokens: Tensor = self.proj(x).flatten(2).transpose(1, 2)
        return tokens


class ViT(nn.Module):
    """Images [N, 3, 32, 32] to scores [N, 10]."""

    def __init__(self) -> None:
        super().__init__()
        self.patch_embed = Patches()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, WIDTH))
        self.pos_embed = nn.Parameter(torch.zeros(1, PATCHES + 1, WIDTH))
        layer = nn.TransformerEncoderLayer(WIDTH, 8, 256, batch_first=True)
        self.transformer = nn.TransformerEncoder(layer, 6, enable_nested_tensor=False)
        self.mlp_head = nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 10))

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patch_embed(x)
        first = self.cls_token.expand(tokens.shape[0], -1, -1)
        scores: Tensor = self.mlp_head(self.transformer(torch.cat([first, tokens], 1) + self.pos_embed)[:, 0])
        return scores


def build() -> nn.Module:
    return ViT()
