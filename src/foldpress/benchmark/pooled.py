"""A metric of the whole set over folds: the held-out answers of all folds are pooled, and the metric is taken of the pool.

Each sample is answered once by the graph that was made without its fold. Of several repeats the mean is taken, and all are
drawn alike: a sample counts once, however often it was answered. Beside the pool stands each fold by itself.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foldpress.benchmark.metrics import Metric
from foldpress.benchmark.whole_set import RESAMPLES, MetricDrop, resample
from foldpress.data import Array, Indices


@dataclass(frozen=True, eq=False)
class FoldAnswers:
    """What the graph made without a fold gives for the fold's samples: each output is [n, …], `rows` [n] of all samples."""

    repeat: int
    rows: Indices
    outputs: list[Array]


def resample_folds(
    metric: Metric,
    targets: Array,
    baseline: list[Array],
    folds: list[FoldAnswers],
    group: NDArray[Any],
    *,
    has_labels: bool,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> MetricDrop:
    """The metric of the pooled folds, its drop on draws of their groups, and the metric of each fold.

    Args:
        metric: larger is better.
        targets: of all samples, [N, …].
        baseline: the baseline's outputs, each [N, …].
        folds: every fold of every repeat.
        group: of each sample, [N].
        has_labels: as for `whole_set.resample`.
        resamples: how many draws.
        seed: of the draws.
    """
    repeats = [[fold for fold in folds if fold.repeat == repeat] for repeat in sorted({fold.repeat for fold in folds})]
    found = []
    for pool in map(_pooled, repeats):
        rows, before = pool.rows, [output[pool.rows] for output in baseline]
        draws: dict[str, Any] = {"has_labels": has_labels, "resamples": resamples, "seed": seed}
        found.append(resample(metric, targets[rows], before, pool.outputs, group[rows], **draws))
    by_fold = [[_of_fold(metric, targets, baseline, fold) for fold in repeat] for repeat in repeats]
    return MetricDrop(
        baseline=float(np.mean([one.baseline for one in found])),
        artifact=float(np.mean([one.artifact for one in found])),
        n=found[0].n,
        resampled=np.mean([one.resampled for one in found], axis=0),
        by_fold=np.array(by_fold),
    )


def _pooled(folds: list[FoldAnswers]) -> FoldAnswers:
    """All folds of a repeat, in the order of the samples: the same in every repeat."""
    rows = np.concatenate([fold.rows for fold in folds])
    order = np.argsort(rows)
    outputs = [np.concatenate(parts)[order] for parts in zip(*(fold.outputs for fold in folds), strict=True)]
    return FoldAnswers(folds[0].repeat, rows[order], outputs)


def _of_fold(metric: Metric, targets: Array, baseline: list[Array], fold: FoldAnswers) -> tuple[float, float]:
    """Before and after."""
    before = [output[fold.rows] for output in baseline]
    return metric(targets[fold.rows], before), metric(targets[fold.rows], fold.outputs)
