"""How often the gate's bounds let a graph pass whose true drop is exactly the margin, and how often one without a drop.

Every draw goes through the tables and blocks that a run's evidence goes through. A bound holds its level when at the margin
it passes at most about as often as its confidence allows.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from foldpress.benchmark.accuracy import folds_block, refit_block, test_block
from foldpress.benchmark.evidence import Paired

CONFIDENCE = 0.95
FOLDS = 5
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Setting:
    """n samples, flips as a share of them, and a margin; `spread` is what differs between folds or groups, in margins."""

    n: int
    margin: float
    flips: float
    spread: float = 0.0
    groups: int = 0


def one_artifact(setting: Setting, repetitions: int, *, drop: float | None = None, seed: int = 0) -> float:
    """The share of passes of one artifact on the test split. Samples are exchangeable, so each pair of counts is judged once."""
    gain = max(setting.flips - setting.margin, 0.0) / 2
    lose = gain + (setting.margin if drop is None else drop)
    counts = np.random.default_rng(seed).multinomial(setting.n, [lose, gain, 1 - lose - gain], repetitions)
    kinds, times = np.unique(counts[:, :2], axis=0, return_counts=True)
    passed = [
        test_block(_counted(int(kind[0]), int(kind[1]), setting.n), True, CONFIDENCE)["drop_upper"] <= setting.margin
        for kind in kinds
    ]
    return float(times[passed].sum() / repetitions)


def by_group(setting: Setting, repetitions: int, *, aware: bool = True, seed: int = 0) -> float:
    """The same with groups whose drops differ: gamma-distributed about the margin, with a deviation of `spread` margins.

    Without `aware`, the groups are hidden from the bound.
    """
    generator = np.random.default_rng(seed)
    parts, shape = np.arange(setting.n) % setting.groups, setting.spread**-2

    def bound() -> float:
        drops = generator.gamma(shape, setting.margin / shape, setting.groups)
        group = parts if aware else np.arange(setting.n)
        table = _table(drops, parts, setting, generator, group=group)
        return float(test_block(table, True, CONFIDENCE)["drop_upper"])

    return _share(bound() <= setting.margin for _ in range(repetitions))


def by_fold(setting: Setting, repetitions: int, *, drop: float | None = None, seed: int = 0) -> float:
    """The share of passes of a recipe over folds, whose graphs differ uniformly about the true drop.

    The calibrations' deviation is `spread` margins; their true drops are independent.
    """
    generator = np.random.default_rng(seed)
    drop = setting.margin if drop is None else drop
    parts, width = np.arange(setting.n) % FOLDS, np.sqrt(3) * setting.spread * setting.margin

    def bound() -> float:
        drops = drop + generator.uniform(-width, width, FOLDS)
        return float(folds_block(_table(drops, parts, setting, generator), True, CONFIDENCE)["drop_upper"])

    return _share(bound() <= setting.margin for _ in range(repetitions))


def by_position(setting: Setting, positions: int, repetitions: int, *, aware: bool = True, seed: int = 0) -> float:
    """The share of passes where each sample has so many positions, and those of `spread` of them are lost or gained together.

    Without `aware`, every position is taken for a sample.
    """
    generator, burst = np.random.default_rng(seed), max(1, round(setting.spread * positions))
    gain = max(setting.flips - setting.margin, 0.0) / 2
    n = setting.n if aware else setting.n * positions
    zeros = np.zeros(n, np.intp)

    def bound() -> float:
        drawn = generator.random((setting.n, positions // burst)) - (gain + setting.margin)
        kinds = np.repeat(np.where(drawn < 0, 1.0, np.where(drawn < gain, -1.0, 0.0)), burst, axis=1)
        lost = kinds.mean(1) if aware else kinds.ravel()
        after, before = 1.0 - np.maximum(lost, 0), 1.0 - np.maximum(-lost, 0)
        table = Paired(np.arange(n), zeros, zeros, zeros, 1 - before, 1 - after, before, after)
        return float(test_block(table, True, CONFIDENCE)["drop_upper"])

    return _share(bound() <= setting.margin for _ in range(repetitions))


@dataclass(frozen=True)
class Learner:
    """A classifier that is trained anew in each fold: two normal classes of `width` features, `apart` from each other.

    It learns the difference of the class means from half of n samples each, and is compressed by rounding each weight to a
    multiple of the largest over `levels`. Its accuracy, before and after, has a closed form: there is no doubt of the truth.
    """

    n: int
    width: int
    apart: float
    levels: int


def refit(learner: Learner, repetitions: int, *, seed: int = 0) -> tuple[float, float, float]:
    """The share of passes of a training procedure at its own true drop, that drop, and the share of flips."""
    generator = np.random.default_rng(seed)
    tables, truths = zip(*(_trained(learner, generator) for _ in range(repetitions)), strict=True)
    margin = float(np.mean(truths))
    flips = float(np.mean([(table.baseline != table.artifact).mean() for table in tables[:1000]]))
    bounds = (refit_block(table, True, CONFIDENCE)["drop_upper"] for table in tables)
    return _share(bound <= margin for bound in bounds), margin, flips


def _trained(learner: Learner, generator: np.random.Generator) -> tuple[Paired, float]:
    """One data set: trained, compressed and scored in each fold; and the mean of the folds' true drops."""
    target = np.arange(learner.n) // FOLDS % 2
    fold = np.arange(learner.n) % FOLDS
    centre = learner.apart / 2 / np.sqrt(learner.width)  # class means at ± this in every feature
    x = generator.normal(size=(learner.n, learner.width)) + centre * (2 * target - 1)[:, None]
    guesses, truth = np.empty((2, learner.n), int), []
    for held_out in range(FOLDS):
        seen = fold != held_out
        ones, zeros = x[seen & (target == 1)].mean(0), x[seen & (target == 0)].mean(0)
        float_weights, threshold = ones - zeros, (ones + zeros) / 2
        step = np.abs(float_weights).max() / learner.levels
        right = []
        for which, weights in enumerate((float_weights, np.round(float_weights / step) * step)):
            offset = weights @ threshold
            guesses[which, ~seen] = x[~seen] @ weights > offset
            right.append(_accuracy(weights, offset, centre))
        truth.append(right[0] - right[1])
    before, after = ((guess == target).astype(float) for guess in guesses)
    rows = np.arange(learner.n)
    trained_on = np.full(learner.n, learner.n - learner.n // FOLDS)
    table = Paired(rows, rows * 0, fold, target, guesses[0], guesses[1], before, after, trained_on=trained_on)
    return table, float(np.mean(truth))


def _accuracy(weights: Floats, offset: float, centre: float) -> float:
    middle, length = centre * weights.sum(), np.linalg.norm(weights)
    return float((stats.norm.cdf((middle - offset) / length) + stats.norm.cdf((middle + offset) / length)) / 2)


def _table(
    drops: Floats, parts: NDArray[np.intp], setting: Setting, generator: np.random.Generator, group: object = None
) -> Paired:
    """Samples that are lost, gained or kept by the true drop of their part; flips are as many in every part, if they can."""
    gain = max(setting.flips - setting.margin, 0.0) / 2
    lose = np.clip(drops + gain, 0, 1)[parts]
    drawn = generator.random(setting.n)
    lost, gained = drawn < lose, (drawn >= lose) & (drawn < lose + gain)
    rows = np.arange(setting.n)
    before, after = 1.0 - gained, 1.0 - lost
    columns = {} if group is None else {"group": group}
    return Paired(rows, np.zeros_like(rows), parts, rows * 0, 1 - before, 1 - after, before, after, **columns)  # type: ignore[arg-type]


def _counted(lost: int, gained: int, n: int) -> Paired:
    rows = np.arange(n)
    before, after = 1.0 - ((rows >= lost) & (rows < lost + gained)), 1.0 - (rows < lost)
    return Paired(rows, rows * 0, rows * 0, rows * 0, 1 - before, 1 - after, before, after)


def _share(passed: Iterator[bool]) -> float:
    return float(np.mean(list(passed)))
