"""Train the networks of this folder on the training images alone, and write their weights.

They go to NETWORK/weights.safetensors, in the folder that FOLDPRESS_NETWORKS names, or in this one, where git ignores them.
Usage: python tests/data/fashion/train.py [network …]
"""

import importlib
import os
import sys
import time
from pathlib import Path

import torch
from safetensors.torch import save as serialize
from torch import Tensor, nn
from torch.nn import functional

from data import FOLDER, load, load_train  # type: ignore[attr-defined]  # the module beside this file

WEIGHTS = Path(os.environ.get("FOLDPRESS_NETWORKS", Path(__file__).resolve().parent))
EPOCHS = {"wide": 8, "mobilenet": 10, "vgg": 8}
BATCH = 64
LEARNING_RATE = 3e-3  # the peak of the one-cycle schedule


def train(model: nn.Module, epochs: int, images: Tensor, labels: Tensor) -> nn.Module:
    """Fit a network to images [N, 1, 28, 28], mirrored half of the time, and labels [N]."""
    model.train().to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's stubs
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.05)
    steps = epochs * -(-len(images) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps)
    for epoch in range(epochs):
        for batch in torch.split(torch.randperm(len(images)), BATCH):
            chosen = images[batch].flip(3) if torch.rand(()) < 0.5 else images[batch]
            optimizer.zero_grad()
            loss = functional.cross_entropy(model(chosen), labels[batch])
            torch.autograd.backward(loss)
            optimizer.step()
            schedule.step()
        print(f"epoch {epoch + 1} of {epochs}: loss {loss.item():.3f}", flush=True)
    return model.eval()


@torch.no_grad()
def accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Share of images [N, 1, 28, 28] given their label [N]."""
    found = torch.cat([model(batch).argmax(1) for batch in torch.split(images, BATCH)])
    return float((found == labels).float().mean())


def save(model: nn.Module, path: Path) -> None:
    """Write the weights, all or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".safetensors.partial")
    partial.write_bytes(serialize({name: value.contiguous() for name, value in model.state_dict().items()}))
    partial.replace(path)


def main(network: str) -> None:
    """Train, save, and say how good it is on what it has not seen."""
    torch.manual_seed(0)
    torch.set_num_threads(1)  # on a busy machine two wait for each other
    model = importlib.import_module(network).build()
    start = time.process_time()
    train(model, EPOCHS[network], *map(torch.from_numpy, load_train()))
    seconds = time.process_time() - start
    save(model, WEIGHTS / network / "weights.safetensors")
    images, labels = map(torch.from_numpy, load())
    figure = accuracy(model, images, labels)
    print(f"{network}: trained in {seconds:.0f} CPU seconds; accuracy {figure:.2%} on {len(labels)} held-out images")


if __name__ == "__main__":
    if not FOLDER.is_dir():
        sys.exit(f"skipped: no images in {FOLDER}; install Debian's dataset-fashion-mnist or set FOLDPRESS_FASHION")
    for asked in sys.argv[1:] or EPOCHS:
        main(asked)
