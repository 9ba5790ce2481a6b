"""Train the tabular network on the training part alone, and write weights.safetensors beside this file."""

import time
from pathlib import Path

import torch
from data import load, load_train
from model import Network, build
from safetensors.torch import save as serialize
from torch import Tensor
from torch.nn import functional as F

WEIGHTS = Path(__file__).resolve().with_name("weights.safetensors")
EPOCHS = 40
BATCH = 128
LEARNING_RATE = 3e-3  # the peak of the one-cycle schedule


def train(answers: Tensor, labels: Tensor) -> Network:
    """Fit the network to answers [N, 8] and labels [N]."""
    model = build().train()
    model.standardize.fit(answers)
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.05)
    steps = EPOCHS * -(-len(answers) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps)
    for _ in range(EPOCHS):
        for batch in torch.split(torch.randperm(len(answers)), BATCH):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(answers[batch]), labels[batch])
            torch.autograd.backward(loss)
            optimizer.step()
            schedule.step()
    return model.eval()


@torch.no_grad()
def accuracy(model: Network, answers: Tensor, labels: Tensor) -> float:
    """Share of answers [N, 8] given their label [N]."""
    return float((model(answers).argmax(1) == labels).float().mean())


def save(model: Network) -> None:
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
    answers, labels = map(torch.from_numpy, load())
    figure = accuracy(model, answers, labels)
    print(f"trained in {seconds:.1f} s; accuracy {figure:.4f} on {len(labels)} held-out people")


if __name__ == "__main__":
    main()
