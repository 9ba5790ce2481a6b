"""Train the digits network on the training part alone, and write weights.safetensors beside this file."""

import time
from pathlib import Path

import numpy as np
import torch
from data import load, load_train
from model import build
from numpy.typing import NDArray
from safetensors.torch import save as serialize
from torch import Tensor, nn
from torch.nn import functional as F

WEIGHTS = Path(__file__).resolve().with_name("weights.safetensors")
EPOCHS = 30
BATCH = 64
LEARNING_RATE = 5e-3  # the peak of the one-cycle schedule


def shift(images: Tensor) -> Tensor:
    """Move a batch [N, C, H, W] by at most one pixel each way; what moves in is black."""
    height, width = images.shape[2:]
    down, right = torch.randint(3, (2,)).tolist()
    return F.pad(images, (1, 1, 1, 1))[:, :, down : down + height, right : right + width]


def train(images: Tensor, labels: Tensor) -> nn.Module:
    """Fit the network to images [N, 1, 8, 8] and labels [N]."""
    model = build().train()
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.05)
    steps = EPOCHS * -(-len(images) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps)
    for _ in range(EPOCHS):
        for batch in torch.split(torch.randperm(len(images)), BATCH):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(shift(images[batch])), labels[batch], label_smoothing=0.1)
            torch.autograd.backward(loss)
            optimizer.step()
            schedule.step()
    return model.eval()


def fit(images: NDArray[np.float32], labels: NDArray[np.int64], seed: int) -> nn.Module:
    """What `[folds] refit = "train:fit"` asks for: the same training on other samples."""
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    return train(torch.from_numpy(images), torch.from_numpy(labels))


@torch.no_grad()
def accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Share of images [N, 1, 8, 8] given their label [N]."""
    return float((model(images).argmax(1) == labels).float().mean())


def save(model: nn.Module) -> None:
    """Write the weights, all or nothing."""
    partial = WEIGHTS.with_suffix(".safetensors.partial")
    partial.write_bytes(serialize(model.state_dict()))
    partial.replace(WEIGHTS)


def main() -> None:
    """Train, save, and say how good it is on what it has not seen."""
    torch.manual_seed(0)
    torch.set_num_threads(1)  # on a busy machine two wait for each other, and take five times as long
    start = time.perf_counter()
    model = train(*map(torch.from_numpy, load_train()))
    seconds = time.perf_counter() - start
    save(model)
    images, labels = map(torch.from_numpy, load())
    figure = accuracy(model, images, labels)
    print(f"trained in {seconds:.1f} s; accuracy {figure:.4f} on {len(labels)} held-out images")


if __name__ == "__main__":
    main()
