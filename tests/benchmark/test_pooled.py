"""Whole-set metrics over folds: what is pooled, which bound counts, and how often it is wrong."""

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from foldpress.benchmark.pooled import FoldAnswers, resample_folds
from foldpress.benchmark.whole_set import MetricDrop, metric_block, resample

FOLDS = 5
Arrays = NDArray[Any]


def f1(targets: Arrays, outputs: list[Arrays]) -> float:
    """Macro F1 of two classes by its definition, from labels; as fast as a simulation needs it."""
    table = np.bincount(3 * targets + outputs[0], minlength=6).reshape(2, 3)  # what was lost may be of a third class
    hits, both = table[[0, 1], [0, 1]], table.sum(1) + table[:, :2].sum(0)
    return float(np.mean(2 * hits / np.maximum(both, 1)))


def drawn(generator: np.random.Generator, n: int, lose: Arrays) -> tuple[Arrays, Arrays, Arrays]:
    """Targets, labels that are right nine times in ten, and those of each fold's graph, which loses some more."""
    target = (generator.random(n) < 0.3).astype(int)
    right = generator.random(n) < 0.9
    lost = generator.random(n) < lose[np.arange(n) % FOLDS]
    before, after = (np.where(kept, target, 1 - target) for kept in (right, right & ~lost))
    return target, before, after


def answers(after: Arrays, repeat: int = 0) -> list[FoldAnswers]:
    fold = (np.arange(len(after)) + repeat) % FOLDS
    return [FoldAnswers(repeat, np.flatnonzero(fold == k), [after[fold == k]]) for k in range(FOLDS)]


def test_the_pool_is_one_set_and_folds_are_in_no_order() -> None:
    """Catches rows out of order, a mean of the folds' metrics in place of the pool's, and groups of other samples."""
    target, before, after = drawn(np.random.default_rng(0), 60, np.full(FOLDS, 0.1))
    group = np.arange(60) // 3
    found = resample_folds(f1, target, [before], answers(after)[::-1], group, has_labels=False, resamples=20, seed=3)
    whole = resample(f1, target, [before], [after], group, has_labels=False, resamples=20, seed=3)
    assert (found.baseline, found.artifact, found.n) == (whole.baseline, whole.artifact, 60)
    assert found.resampled.tolist() == whole.resampled.tolist()
    expected = [[f1(target[k::5], [before[k::5]]), f1(target[k::5], [after[k::5]])] for k in (4, 3, 2, 1, 0)]
    assert found.by_fold.tolist() == [expected]


def test_repeats_are_averaged() -> None:
    """Catches a sample that counts as often as it was answered, and repeats drawn apart."""
    target, before, after = drawn(np.random.default_rng(0), 60, np.full(FOLDS, 0.1))
    other = np.where(np.arange(60) < 5, 1 - after, after)
    folds = answers(after) + answers(other, repeat=1)
    found = resample_folds(f1, target, [before], folds, np.arange(60), has_labels=False, resamples=20, seed=3)
    single = [
        resample(f1, target, [before], [one], np.arange(60), has_labels=False, resamples=20, seed=3)
        for one in (after, other)
    ]
    assert found.n == 60
    assert found.artifact == pytest.approx(np.mean([one.artifact for one in single]))
    np.testing.assert_allclose(found.resampled, np.mean([one.resampled for one in single], axis=0))
    assert found.by_fold.shape == (2, FOLDS, 2)


def metric_drop(by_fold: list[list[float]]) -> MetricDrop:
    return MetricDrop(0.9, 0.88, 100, np.linspace(0, 0.04, 101), np.array([by_fold]))


def test_the_larger_bound_counts() -> None:
    """Catches folds that differ and are averaged away, and a fold-level bound alone, which may see no spread."""
    alike = metric_block(metric_drop([[0.9, 0.88], [0.9, 0.88]]), 0.95)
    assert (alike["drop_upper"], alike["drop_upper_by_fold"]) == (alike["drop_upper_pooled"], pytest.approx(0.02))
    apart = metric_block(metric_drop([[0.9, 0.9], [0.9, 0.86]]), 0.95)
    assert apart["drop_upper"] == apart["drop_upper_by_fold"] > 0.1


def test_a_fold_that_cannot_be_scored() -> None:
    """Catches an artifact without a number that is left out, as a fold with one class is, of which there is no area."""
    untold = metric_block(metric_drop([[0.9, 0.88], [math.nan, math.nan], [0.9, 0.87]]), 0.95)
    assert (untold["drop_upper_by_fold"], untold["drop_upper"]) == (None, untold["drop_upper_pooled"])
    assert "1 of the folds" in untold["drop_upper_by_fold_why"]
    assert metric_block(metric_drop([[0.9, 0.88], [0.9, math.nan], [0.9, 0.87]]), 0.95)["drop_upper"] == math.inf


@pytest.mark.parametrize("spread", [0.0, 0.5])
def test_false_passes_at_the_margin(spread: float) -> None:
    """Catches a pooled bound alone, which does not see that calibrations differ: it passes more often than it may."""
    generator, n, lose, repetitions = np.random.default_rng(0), 800, 0.04, 200
    target, before, after = drawn(generator, 1_000_000, np.full(FOLDS, lose))
    margin, bounds = f1(target, [before]) - f1(target, [after]), []
    for repetition in range(repetitions):
        rates = lose * (1 + spread * np.sqrt(3) * generator.uniform(-1, 1, FOLDS))
        target, before, after = drawn(generator, n, rates)
        folds = answers(after)
        draws: dict[str, Any] = {"has_labels": True, "resamples": 100, "seed": repetition}
        block = metric_block(resample_folds(f1, target, [before], folds, np.arange(n), **draws), 0.95)
        bounds.append((block["drop_upper"], block["drop_upper_pooled"]))
    passed, by_pool = np.mean(np.array(bounds) <= margin, axis=0)
    assert passed <= 0.07
    assert (by_pool > 0.07) == (spread > 0)
