"""Drops of metrics of a whole set that are no mean over samples: F1, the area under the ROC curve, a user's own.

A drop is bounded by a bootstrap over samples, or over groups where samples of a group may err together: each resample draws
them with replacement, and both graphs are scored on the same draw (Efron and Tibshirani, An Introduction to the Bootstrap,
1993, §13.3, percentiles). A bootstrap alone collapses where nothing flips. So in every resample of a classification a few
more samples are lost, their scores moved on by one class: z² of them, which is what Tango's bound leaves possible where
nothing flipped. The resampled drops are the evidence: another confidence takes another quantile, and runs nothing.
"""

import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from foldpress.benchmark.intervals import mean_upper
from foldpress.benchmark.labels import class_axis
from foldpress.benchmark.metrics import Metric
from foldpress.data import Array
from foldpress.files import read_arrays, replacing

RESAMPLES = 2000
MOST_LOST = math.ceil(float(stats.norm.ppf(0.95)) ** 2)  # z² at the usual confidence


@dataclass(frozen=True, eq=False)
class MetricDrop:
    """A whole-set metric before and after, of n samples, and its drop in every resample, [R].

    `by_fold` has the metric of each fold before and after, [repeats, K, 2]; nothing where no folds were scored.
    """

    baseline: float
    artifact: float
    n: int
    resampled: NDArray[np.float64]
    by_fold: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 0, 2)))


def resample(
    metric: Metric,
    targets: Array,
    baseline: list[Array],
    artifact: list[Array],
    group: NDArray[Any],
    *,
    has_labels: bool,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> MetricDrop:
    """The metric on all samples, and its drop on draws of their groups with replacement.

    Args:
        metric: larger is better.
        targets: [N, …].
        baseline: the baseline's outputs, each [N, …].
        artifact: the artifact's.
        group: of each sample, [N].
        has_labels: whether the first output holds classes or their scores, so that samples can be lost.
        resamples: how many draws.
        seed: of the draws.
    """
    generator = np.random.default_rng(seed)
    _, where = np.unique(group, return_inverse=True)
    by_group, sizes = np.argsort(where, kind="stable"), np.bincount(where)
    drops = np.empty(resamples)
    for draw in range(resamples):
        chosen = by_group[_members(generator.integers(len(sizes), size=len(sizes)), sizes)]
        after = [output[chosen] for output in artifact]
        if has_labels:
            lost = generator.choice(len(chosen), min(MOST_LOST, len(chosen)), replace=False)
            after[0] = _lose(after[0], targets[chosen], lost)
        drops[draw] = metric(targets[chosen], [output[chosen] for output in baseline]) - metric(targets[chosen], after)
    return MetricDrop(metric(targets, baseline), metric(targets, artifact), len(targets), drops)


def _members(drawn: NDArray[np.intp], sizes: NDArray[np.intp]) -> NDArray[np.intp]:
    """Where the members of the groups that were drawn stand, in samples that are ordered by group."""
    starts, counts = (np.cumsum(sizes) - sizes)[drawn], sizes[drawn]
    return np.repeat(starts - (np.cumsum(counts) - counts), counts) + np.arange(counts.sum())


def metric_block(found: MetricDrop, confidence: float) -> dict[str, Any]:
    """The `accuracy.whole_set` entry of report.json; without any spread the bound is infinite, and proves nothing.

    Of folds, `accuracy.whole_set_folds`: the larger of the pooled and the fold-level bound counts.
    """
    drop = found.baseline - found.artifact
    spread = np.isfinite(found.resampled).all() and np.ptp(found.resampled) > 0
    upper = max(float(np.quantile(found.resampled, confidence)), drop) if spread else math.inf
    block = {"n": found.n, "baseline": found.baseline, "artifact": found.artifact, "drop": drop, "drop_upper": upper}
    if not found.by_fold.size:
        return block
    by_fold = {"drop_upper_pooled": upper, "drop_upper_by_fold": None}
    missing = int((~np.isfinite(found.by_fold[..., 0])).sum())
    if missing:  # the baseline's alone: an artifact that gives no number has to block
        return (
            block
            | by_fold
            | {"drop_upper_by_fold_why": f"the baseline's metric is no number on {missing} of the folds"}
        )
    level = max(mean_upper(before - after, confidence) for before, after in found.by_fold.transpose(0, 2, 1))
    return block | by_fold | {"drop_upper": max(upper, level), "drop_upper_by_fold": level}


def save_metric(found: MetricDrop, path: Path) -> None:
    """Write it as evidence."""
    with replacing(path) as draft, draft.open("wb") as stream:
        np.savez_compressed(stream, **asdict(found))


def load_metric(path: Path) -> MetricDrop | None:
    """Read it back; None where there is none."""
    if not path.is_file():
        return None
    arrays = read_arrays(path)
    single = {"baseline": float(arrays["baseline"]), "artifact": float(arrays["artifact"]), "n": int(arrays["n"])}
    return MetricDrop(**{**arrays, **single})


def _lose(output: Array, targets: Array, rows: NDArray[np.intp]) -> Array:
    """Some samples answered wrongly for certain, at every position: another class than the target's has the largest score."""
    output = output.copy()
    if output.dtype.kind != "f":
        output.reshape(targets.shape)[rows] = targets[rows] + 1
        return output
    scores = np.moveaxis(output, class_axis(output, targets.shape[1:]), -1)  # a view
    part = scores[rows]
    wanted, best = np.maximum(targets[rows], 0)[..., None], part.max(-1, keepdims=True)  # padding has no class
    np.put_along_axis(part, wanted, part.min(-1, keepdims=True) - 1, -1)
    np.put_along_axis(part, (wanted + 1) % part.shape[-1], best + 1, -1)
    scores[rows] = part
    return output
