"""Self-distillation where classes look alike: does a student gain by its own moving average, against itself trained alone?

Fashion-MNIST (FOLDPRESS_FASHION): 10,000 of the training images to train on, with labels for all of them or for a tenth, a tenth of
those with labels held back to stop by; the 10,000 test images are scored. Student and loss are those of distillation.py. Once both
have the plan that its other kinds have; else each has its own best, which `choose` looks for on training images, from other seeds.
Usage: python tests/perf/self_distillation.py [seeds | choose [all | tenth]]
"""

import itertools
import os
import sys
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

os.environ |= {"ORT_DISABLE_TELEMETRY": "1", "OMP_NUM_THREADS": "1"}

import numpy as np
import torch
from distillation import AVERAGED, SELF, STUDYING, accuracy, few_labels, gain, study  # type: ignore[import-not-found]
from networks import ROOT  # type: ignore[import-not-found]  # beside this script

from foldpress.callables import load_callable
from foldpress.data import Dataset
from foldpress.training.losses import Loss
from foldpress.training.plan import Plan
from foldpress.training.samples import Pool
from foldpress.training.teachers import Teacher

SEEDS, OTHER_SEEDS = 5, range(100, 106)
COUNT = 10_000
DECAY = 0.986  # back over about one epoch, of 71 steps
RAMPED = replace(SELF, ramp_up=1.0)  # beside few labels


@dataclass(frozen=True)
class Training:
    """Alone (no loss), or beside the moving average; with labels for a tenth, the rest teaches through the average alone."""

    loss: Loss | None
    plan: Plan
    tenth: bool = False

    def accuracy(self, train: Dataset, scored: Dataset, seed: int) -> float:
        """Percent of the images to score."""
        known, rest = few_labels(train, seed) if self.tenth else (train, None)
        pool = Pool(known) if self.loss is None else Pool(known, rest)
        teachers = [] if self.loss is None else [Teacher(None)]
        right: float = accuracy(study(pool, teachers, self.loss or Loss(), seed, self.plan, DECAY), scored)
        return right


def plan(rate: float, epochs: int) -> Plan:
    """Whose end is not brought forward."""
    made: Plan = replace(STUDYING, learning_rate=rate, epochs=epochs, patience=None)
    return made


COMPARED = {
    "all labels, one plan": (Training(None, STUDYING), Training(SELF, STUDYING)),
    "all labels, each at its best": (Training(None, plan(0.04, 12)), Training(SELF, plan(0.04, 20))),
    "labels for 10 %, each at its best": (
        Training(None, plan(0.01, 120), tenth=True),
        Training(RAMPED, plan(0.02, 40), tenth=True),
    ),
    "the same, averaged alone": (
        Training(AVERAGED, plan(0.02, 40), tenth=True),
        Training(RAMPED, plan(0.02, 40), tenth=True),
    ),
}
TRIED: dict[str, list[Training]] = {
    "all": [
        Training(loss, plan(rate, epochs))
        for loss, rate, epochs in itertools.product((None, SELF), (0.01, 0.02, 0.04), (12, 20, 30))
    ],
    "tenth": [
        *(
            Training(None, plan(rate, epochs), tenth=True)
            for rate, epochs in itertools.product((0.01, 0.02, 0.04), (60, 120))
        ),
        *(
            Training(RAMPED, plan(rate, epochs), tenth=True)
            for rate, epochs in itertools.product((0.01, 0.02, 0.04), (20, 40))
        ),
    ],
}


def images(part: str, seed: int) -> tuple[Dataset, Dataset]:
    """[10000, 1, 28, 28] with labels: the first and the last of a part, in an order drawn from a seed."""
    x, y = load_callable(f"data:{part}", ROOT / "models/lenet")()
    order = np.random.default_rng(seed).permutation(len(y))
    first, last = (Dataset({"input": x[rows]}, y[rows]) for rows in (order[:COUNT], order[-COUNT:]))
    return first, last


def compare(seeds: int) -> None:
    """The table."""
    train, scored = images("load_train", 0)[0], images("load", 0)[0]

    @cache
    def right(training: Training) -> Any:
        return np.array([training.accuracy(train, scored, seed) for seed in range(seeds)])

    print(f"| {seeds} seeds | alone | self | gain, 95 % interval |\n|---|---|---|---|", flush=True)
    for name, trainings in COMPARED.items():
        before, after = map(right, trainings)
        print(f"| {name} | {before.mean():.2f} % | {after.mean():.2f} % | {gain(after - before)} |", flush=True)


def choose(trainings: list[Training]) -> None:
    """Accuracy of each; images are drawn anew for every seed."""
    for one in trainings:
        found = [one.accuracy(*images("load_train", seed), seed) for seed in OTHER_SEEDS]
        name = "alone" if one.loss is None else "self"
        print(f"{name}, rate {one.plan.learning_rate}, {one.plan.epochs} epochs: {np.mean(found):.2f} %", flush=True)


def main() -> None:
    torch.set_num_threads(1)
    asked = sys.argv[1:] or [str(SEEDS)]
    if asked[0] == "choose":
        for labels in asked[1:] or TRIED:
            choose(TRIED[labels])
    else:
        compare(int(asked[0]))


if __name__ == "__main__":
    main()
