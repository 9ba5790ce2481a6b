"""Self-distillation where classes look alike: does a student gain by its own moving average, against itself trained alone?

Fashion-MNIST (FOLDPRESS_FASHION): 10,000 of the training images to train on, a tenth of these held back to stop by; the 10,000 test
images are scored. Student and loss are those of distillation.py. Once both trainings have the plan that it has for every kind; once
each has what was best for it, which `choose` looks for: on training images alone, and from other seeds.
Usage: python tests/perf/self_distillation.py [seeds | choose]
"""

import os
import sys
from dataclasses import replace
from functools import cache

os.environ |= {"ORT_DISABLE_TELEMETRY": "1", "OMP_NUM_THREADS": "1"}

import numpy as np
import torch
from distillation import AVERAGED, SELF, STUDYING, accuracy, gain, study  # type: ignore[import-not-found]  # beside this script
from networks import ROOT  # type: ignore[import-not-found]
from torch import nn

from foldpress.callables import load_callable
from foldpress.data import Dataset
from foldpress.training.losses import Loss
from foldpress.training.plan import Plan
from foldpress.training.samples import Pool
from foldpress.training.teachers import Teacher

SEEDS, OTHER_SEEDS = 5, range(100, 106)
COUNT = 10_000
DECAY = 0.986  # back over about one epoch, of 71 steps
ALONE = replace(STUDYING, epochs=12, learning_rate=0.04, patience=None)
TAUGHT = replace(STUDYING, epochs=30, learning_rate=0.02, patience=None)
RATES, EPOCHS = (0.01, 0.02, 0.04), (12, 20, 30)


def images(part: str, seed: int) -> tuple[Dataset, Dataset]:
    """[10000, 1, 28, 28] with labels: the first and the last of a part, in an order drawn from a seed."""
    x, y = load_callable(f"data:{part}", ROOT / "models/lenet")()
    order = np.random.default_rng(seed).permutation(len(y))
    first, last = (Dataset({"input": x[rows]}, y[rows]) for rows in (order[:COUNT], order[-COUNT:]))
    return first, last


def student(train: Dataset, loss: Loss | None, plan: Plan, seed: int) -> nn.Module:
    """Alone, or beside its moving average, which is kept."""
    teachers = [] if loss is None else [Teacher(None)]
    trained: nn.Module = study(Pool(train), teachers, loss or Loss(), seed, plan, DECAY)
    return trained


def compare(seeds: int) -> None:
    """The table."""
    train, scored = images("load_train", 0)[0], images("load", 0)[0]

    @cache
    def right(loss: Loss | None, plan: Plan) -> np.ndarray:
        return np.array([accuracy(student(train, loss, plan, seed), scored) for seed in range(seeds)])

    print(f"| {seeds} seeds | alone | self | gain, 95 % interval |\n|---|---|---|---|", flush=True)
    for name, first, second in (
        ("the same plan", (None, STUDYING), (SELF, STUDYING)),
        ("each at its best", (None, ALONE), (SELF, TAUGHT)),
        ("averaged alone, and self", (AVERAGED, TAUGHT), (SELF, TAUGHT)),
    ):
        before, after = right(*first), right(*second)
        print(f"| {name} | {before.mean():.2f} % | {after.mean():.2f} % | {gain(after - before)} |", flush=True)


def choose() -> None:
    """Accuracy of both by rate and epochs; images are drawn anew for every seed."""
    for name, loss in (("alone", None), ("self", SELF)):
        for rate in RATES:
            for epochs in EPOCHS:
                plan, found = replace(ALONE, epochs=epochs, learning_rate=rate), []
                for seed in OTHER_SEEDS:
                    train, scored = images("load_train", seed)
                    found.append(accuracy(student(train, loss, plan, seed), scored))
                print(f"{name}, rate {rate}, {epochs} epochs: {np.mean(found):.2f} %", flush=True)


def main() -> None:
    torch.set_num_threads(1)
    asked = sys.argv[1] if len(sys.argv) > 1 else str(SEEDS)
    if asked == "choose":
        choose()
    else:
        compare(int(asked))


if __name__ == "__main__":
    main()
