"""Train both networks, then compress them as Deep Compression does, and write the weights of before and after.

    pruned     the smallest weights of all become zero, a few more in every epoch, while the rest learns to do without
    taught     by the outputs of uncompressed LeNet-5s, for the images and for their mirror images
    shared     the weights that are left take 16 values in each layer, 32 in a convolution, which then learn on

NETWORK.safetensors and NETWORK-small.safetensors go beside this file, or to the folder that FOLDPRESS_NETWORKS names. A network
whose uncompressed weights are there is not trained again.
Usage: python models/lenet/train.py [network …]
"""

import copy
import os
import sys
import time
from dataclasses import replace
from pathlib import Path

import torch
from data import load, load_mirrored, load_train
from model import NETWORKS
from safetensors.torch import load_file
from safetensors.torch import save as serialize
from torch import Tensor, nn

from foldpress import Dataset
from foldpress.codebook_tuning import share_parameters
from foldpress.training.codebooks import write_back
from foldpress.training.distillation import distill
from foldpress.training.losses import Loss
from foldpress.training.masking import Growing
from foldpress.training.plan import Plan
from foldpress.training.samples import Pool
from foldpress.training.teachers import Teacher

WEIGHTS = Path(os.environ.get("FOLDPRESS_NETWORKS", Path(__file__).resolve().parent))
TEACHER = "lenet-5"
TEACHERS = {"lenet-300-100": 1, "lenet-5": 2}  # a network learns little from itself alone
# Of training, and on twice as many images of pruning and of tuning.
EPOCHS = {"lenet-300-100": (20, 12, 2), "lenet-5": (10, 10, 2)}
# Of layers that are pruned together. What a convolution has learned serves every place of the image: there is less to spare.
SPARSITY = {
    "lenet-300-100": {("fc1", "fc2", "fc3"): 0.93},
    "lenet-5": {("conv2",): 0.65, ("fc1", "fc2"): 0.935},
}
BITS = {"conv1": 5, "conv2": 5, "fc1": 4, "fc2": 4, "fc3": 4}
LEARNING_RATE, TUNING_RATE = 2e-3, 5e-4
PRUNING_RATE = {"lenet-300-100": 2e-3, "lenet-5": 1e-3}
SOFT = Loss(gamma=0.9, temperature=4.0)


def plan(epochs: int, learning_rate: float) -> Plan:
    """Nothing is held back: how long to train was chosen on other splits of the training images."""
    return Plan(epochs, 128, learning_rate, held_back=0, patience=None)


def mirror(images: Tensor) -> Tensor:
    """Half of the batches, left to right."""
    return images.flip(3) if torch.rand(()) < 0.5 else images


def train(network: str, pool: Pool, seed: int = 0) -> nn.Module:
    """The uncompressed network."""
    torch.manual_seed(seed)
    mirroring = replace(plan(EPOCHS[network][0], LEARNING_RATE), augment=mirror, seed=seed)
    return distill(NETWORKS[network](), pool, (), Loss(), mirroring, label=network).module


def compress(network: str, large: nn.Module, teachers: list[nn.Module], pool: Pool) -> nn.Module:
    """A copy with few weights, of few values; the pool does not change, so the teachers are asked but once."""
    small: nn.Module = copy.deepcopy(large)
    small.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # 1.7 times as fast
    names = tuple(name for name, value in small.named_parameters() if value.ndim > 1)
    _, pruning, tuning = EPOCHS[network]
    taught = [Teacher(one) for one in teachers]
    growing = [
        Growing(small, tuple(f"{layer}.weight" for layer in layers), sparsity)
        for layers, sparsity in SPARSITY[network].items()
    ]
    rate = PRUNING_RATE[network]
    distill(small, pool, taught, SOFT, plan(pruning, rate), constraints=tuple(growing), label="pruning")
    share_parameters(small, {name: BITS[name.partition(".")[0]] for name in names})
    distill(small, pool, taught, SOFT, plan(tuning, TUNING_RATE), label="tuning the values")
    write_back(small)
    return small


@torch.no_grad()
def accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Share of images [N, 1, 28, 28] given their label [N]."""
    return float((torch.cat([model(part) for part in images.split(500)]).argmax(1) == labels).float().mean())


def trained(network: str, pool: Pool, seed: int = 0) -> nn.Module:
    """The uncompressed network; if it was trained before, as it was."""
    name = f"{network}-{seed}" if seed else network
    path = WEIGHTS / f"{name}.safetensors"
    if not path.is_file():
        start = time.process_time()
        save(train(network, pool, seed), name)
        print(f"{name}: trained in {time.process_time() - start:.0f} CPU seconds", flush=True)
    model = NETWORKS[network]().eval()
    model.load_state_dict(load_file(path))
    return model


def save(model: nn.Module, name: str) -> None:
    """Write the weights, all or nothing."""
    path = WEIGHTS / f"{name}.safetensors"
    partial = path.with_suffix(".partial")
    partial.write_bytes(serialize({key: value.contiguous() for key, value in model.state_dict().items()}))
    partial.replace(path)


def main(networks: list[str]) -> None:
    """Train and compress, and say how good each is on what it has not seen."""
    torch.set_num_threads(1)  # on a busy machine two wait for each other
    images, labels = load_train()
    pool = Pool(Dataset({"input": images}, labels))
    mirrored, twice = load_mirrored()
    both = Pool(Dataset({"input": mirrored}, twice))
    held_out = [torch.from_numpy(part) for part in load()]
    for name in networks:
        large = trained(name, pool)
        teachers = [trained(TEACHER, pool, seed) for seed in range(TEACHERS[name])]
        start = time.process_time()
        small = compress(name, large, teachers, both)
        save(small, f"{name}-small")
        seconds = time.process_time() - start
        before, after = (accuracy(one, *held_out) for one in (large, small))
        print(f"{name}: compressed in {seconds:.0f} CPU seconds; accuracy {before:.2%}, then {after:.2%}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:] or list(NETWORKS))
