"""Train the regression network on the training part alone, and write weights.safetensors beside this file."""

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
BATCH = 32
LEARNING_RATE = 3e-3  # the peak of the one-cycle schedule


def train(inputs: Tensor, targets: Tensor) -> Network:
    """Fit the network to inputs [N, 10] and targets [N]."""
    model = build().train()
    model.fit_scales(inputs, targets)
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.05)
    steps = EPOCHS * -(-len(inputs) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps)
    for _ in range(EPOCHS):
        for batch in torch.split(torch.randperm(len(inputs)), BATCH):
            optimizer.zero_grad()
            loss = F.mse_loss(model(inputs[batch]), targets[batch]) / model.target_deviation**2
            torch.autograd.backward(loss)
            optimizer.step()
            schedule.step()
    return model.eval()


@torch.no_grad()
def r_squared(model: Network, inputs: Tensor, targets: Tensor) -> float:
    """Share of the variance of targets [N] that the network explains from inputs [N, 10]."""
    return 1 - F.mse_loss(model(inputs), targets).item() / targets.var(correction=0).item()


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
    inputs, targets = map(torch.from_numpy, load())
    figure = r_squared(model, inputs, targets)
    print(f"trained in {seconds:.1f} s; R^2 {figure:.4f} on {len(targets)} held-out patients")


if __name__ == "__main__":
    main()
