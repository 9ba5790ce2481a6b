"""Metrics of a whole set that are no mean over samples: F1, the area under the ROC curve, a user's own.

Their drop is bounded by a bootstrap over samples, or over groups where samples of a group may err together: each resample draws
them with replacement, and both graphs are scored on the same draw (Efron and Tibshirani, An Introduction to the Bootstrap,
1993, §13.3, percentiles). A bootstrap alone collapses where nothing flips. So in every resample of a classification a few
more samples are lost, their scores moved on by one class: z² of them, which is what Tango's bound leaves possible where
nothing flipped. The resampled drops are the evidence: another confidence takes another quantile, and runs nothing.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from foldpress.benchmark.labels import labels
from foldpress.callables import load_callable
from foldpress.data import Array
from foldpress.errors import DataError
from foldpress.files import read_arrays, replacing

RESAMPLES = 2000
MOST_LOST = math.ceil(float(stats.norm.ppf(0.95)) ** 2)  # z² at the usual confidence

Metric = Callable[[Array, list[Array]], float]


@dataclass(frozen=True, eq=False)
class MetricDrop:
    """A whole-set metric before and after, of n samples, and its drop in every resample, [R]."""

    baseline: float
    artifact: float
    n: int
    resampled: NDArray[np.float64]


def make_metric(name: str, folder: Path) -> Metric:
    """The metric of a name: f1 (macro), auc (macro, one class against the rest), or `module:callable`.

    The user's own takes (targets, outputs), as per-sample ones do, and gives one number, larger being better.

    Raises:
        RequestError: no such metric.
    """
    if name in _KNOWN:
        return _KNOWN[name]
    users = load_callable(name, folder)

    def metric(targets: Array, outputs: list[Array]) -> float:
        found = np.asarray(users(targets, outputs[0] if len(outputs) == 1 else outputs))
        if found.shape != () or found.dtype.kind not in "fiub":
            raise DataError(f"{name} gave {found.dtype} {list(found.shape)}; one number for the whole set is needed")
        return float(found)

    return metric


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
    members = np.split(np.argsort(where, kind="stable"), np.cumsum(np.bincount(where))[:-1])
    drops = np.empty(resamples)
    for draw in range(resamples):
        chosen = np.concatenate([members[one] for one in generator.integers(len(members), size=len(members))])
        after = [output[chosen] for output in artifact]
        if has_labels:
            lost = generator.choice(len(chosen), min(MOST_LOST, len(chosen)), replace=False)
            after[0] = _lose(after[0], targets[chosen], lost)
        drops[draw] = metric(targets[chosen], [output[chosen] for output in baseline]) - metric(targets[chosen], after)
    return MetricDrop(metric(targets, baseline), metric(targets, artifact), len(targets), drops)


def metric_block(found: MetricDrop, confidence: float) -> dict[str, Any]:
    """The `accuracy.whole_set` entry of report.json; without any spread the bound is infinite, and proves nothing."""
    drop = found.baseline - found.artifact
    spread = np.isfinite(found.resampled).all() and np.ptp(found.resampled) > 0
    upper = max(float(np.quantile(found.resampled, confidence)), drop) if spread else math.inf
    return {"n": found.n, "baseline": found.baseline, "artifact": found.artifact, "drop": drop, "drop_upper": upper}


def save_metric(found: MetricDrop, path: Path) -> None:
    """Write evidence/metric.npz."""
    with replacing(path) as draft, draft.open("wb") as stream:
        np.savez_compressed(
            stream, baseline=found.baseline, artifact=found.artifact, n=found.n, resampled=found.resampled
        )


def load_metric(path: Path) -> MetricDrop | None:
    """Read it back; None where there is none."""
    if not path.is_file():
        return None
    arrays = read_arrays(path)
    return MetricDrop(float(arrays["baseline"]), float(arrays["artifact"]), int(arrays["n"]), arrays["resampled"])


def _lose(output: Array, targets: Array, rows: NDArray[np.intp]) -> Array:
    """Some samples answered wrongly for certain: another class than the target's has the largest score."""
    output = output.copy()
    if output.dtype.kind == "f":
        best = output[rows].max(1)
        output[rows, targets[rows]] = output[rows].min(1) - 1
        output[rows, (targets[rows] + 1) % output.shape[1]] = best + 1
    else:
        output.reshape(len(output))[rows] = targets[rows] + 1
    return output


def _f1(targets: Array, outputs: list[Array]) -> float:
    from sklearn.metrics import f1_score

    return float(f1_score(targets, labels(outputs), average="macro", zero_division=0.0))


def _auc(targets: Array, outputs: list[Array]) -> float:
    """Over the classes that some samples have and others have not: a draw may lack one."""
    from sklearn.metrics import roc_auc_score

    scores = outputs[0]
    if scores.ndim != 2 or scores.dtype.kind != "f":
        raise DataError(f"the area under the ROC curve needs scores [N, C]; the graph gives {list(scores.shape)}")
    present = [label for label in np.unique(targets) if (targets != label).any()]
    areas = [roc_auc_score(targets == label, scores[:, label]) for label in present]
    return float(np.mean(areas)) if areas else math.nan


_KNOWN: dict[str, Metric] = {"f1": _f1, "auc": _auc}
