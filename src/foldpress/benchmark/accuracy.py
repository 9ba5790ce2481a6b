"""Paired accuracy: the same samples through the baseline and through the artifact, and how far apart they can be.

Two questions, never mixed: did the graph that ships lose accuracy (the test split), and does the recipe lose accuracy
when it is judged on samples that its calibration has not seen (the folds)?
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foldpress.benchmark.evidence import Paired
from foldpress.benchmark.intervals import clopper_pearson_upper, mean_upper, tango_upper
from foldpress.benchmark.scoring import Task
from foldpress.data import Array, Dataset


def pair(
    task: Task, dataset: Dataset, baseline: list[Array], artifact: list[Array], *, repeat: int = 0, fold: int = -1
) -> Paired:
    """One row for each sample of `dataset`, from both graphs' outputs. Fold −1 is the test split."""
    targets = dataset.y
    return Paired(
        sample=dataset.rows,
        repeat=np.full(len(dataset), repeat),
        fold=np.full(len(dataset), fold),
        target=targets,
        baseline=task.predict(baseline),
        artifact=task.predict(artifact),
        baseline_score=task.score(targets, baseline),
        artifact_score=task.score(targets, artifact),
    )


def test_block(table: Paired, has_labels: bool, confidence: float) -> dict[str, Any]:
    """The `accuracy.test` entry of report.json."""
    lost = table.baseline_score - table.artifact_score
    binary = is_binary(table)
    block = _means(table, has_labels) | {"drop_upper": drop_upper(lost, confidence, binary=binary)}
    if binary:
        block["clopper_pearson_upper"] = clopper_pearson_upper(int((lost > 0).sum()), len(table), confidence)
    if has_labels:
        block["flips_upper"] = clopper_pearson_upper(int(_flipped(table).sum()), len(table), confidence)
    else:
        block["flips_upper"], block["flips_upper_why"] = None, block["flips_why"]
    return block


def folds_block(table: Paired, has_labels: bool, confidence: float) -> dict[str, Any]:
    """The `accuracy.folds` entry of report.json; of the pooled and the fold-level bound, the larger counts."""
    each = []
    for repeat in np.unique(table.repeat):
        for fold in np.unique(table.fold):
            part = rows(table, (table.repeat == repeat) & (table.fold == fold))
            each.append({"fold": int(fold), "repeat": int(repeat)} | _means(part, has_labels))
    pooled, by_fold = drop_upper(_per_sample(table), confidence, binary=is_binary(table)), _fold_level(each, confidence)
    n = len(np.unique(table.sample))
    summary = _means(table, has_labels) | {"n": n, "drop_upper": max(pooled, by_fold)}
    return summary | {"drop_upper_pooled": pooled, "drop_upper_by_fold": by_fold, "each": each}


def class_drops(table: Paired, confidence: float) -> list[tuple[int, int, float, float]]:
    """Class, samples, drop and upper bound, for each class; Bonferroni keeps all bounds true together."""
    classes = np.unique(table.target)
    each = 1 - (1 - confidence) / len(classes)
    found = []
    for label in classes:
        part = rows(table, table.target == label)
        lost = part.baseline_score - part.artifact_score
        found.append((int(label), len(part), float(lost.mean()), drop_upper(lost, each, binary=is_binary(part))))
    return found


def classes_block(table: Paired, confidence: float) -> list[dict[str, Any]]:
    """The `accuracy.classes` entry of report.json: one row a class; all bounds hold together."""
    block = []
    for label, n, drop, upper in class_drops(table, confidence):
        members = table.target == label
        scores = {name: float(getattr(table, f"{name}_score")[members].mean()) for name in ("baseline", "artifact")}
        block.append({"class": label, "n": n, **scores, "drop": drop, "drop_upper": upper})
    return block


def drop_upper(lost: NDArray[Any], confidence: float, *, binary: bool) -> float:
    """Upper bound on the mean loss of independent samples: Tango's for right and wrong, else Student's t.

    Averages over repeats of right and wrong are fractions: both bounds are taken, Tango's with its counts rounded to
    the unfavourable side, and the larger counts.
    """
    if not binary:
        return mean_upper(lost, confidence)
    b, c = float(lost[lost > 0].sum()), float(-lost[lost < 0].sum())
    bound = tango_upper(math.ceil(b), math.floor(c), len(lost), confidence)
    return bound if np.isin(lost, (-1.0, 0.0, 1.0)).all() else max(bound, mean_upper(lost, confidence))


def is_binary(table: Paired) -> bool:
    """Whether every score is right or wrong, 1 or 0."""
    return bool(np.isin([table.baseline_score, table.artifact_score], (0.0, 1.0)).all())


def rows(table: Paired, chosen: NDArray[np.bool_]) -> Paired:
    """Some rows of the table."""
    return Paired(**{name: getattr(table, name)[chosen] for name in Paired.__dataclass_fields__})


def concatenate(tables: list[Paired]) -> Paired:
    """All rows of several tables."""
    names = Paired.__dataclass_fields__
    return Paired(**{name: np.concatenate([getattr(table, name) for table in tables]) for name in names})


def _means(table: Paired, has_labels: bool) -> dict[str, Any]:
    baseline, artifact = float(table.baseline_score.mean()), float(table.artifact_score.mean())
    block: dict[str, Any] = {"n": len(table), "baseline": baseline, "artifact": artifact}
    block["drop"] = float((table.baseline_score - table.artifact_score).mean())
    block["flips"] = float(_flipped(table).mean()) if has_labels else None
    if not has_labels:
        block["flips_why"] = "predictions are not classes"
    return block


def _flipped(table: Paired) -> NDArray[np.bool_]:
    return np.asarray(table.baseline != table.artifact)


def _per_sample(table: Paired) -> NDArray[np.float64]:
    """Each sample's loss, averaged over repeats: K·N rows of N samples are not K·N samples."""
    _, where = np.unique(table.sample, return_inverse=True)
    lost = table.baseline_score - table.artifact_score
    return np.asarray(np.bincount(where, lost) / np.bincount(where))


def _fold_level(each: list[dict[str, Any]], confidence: float) -> float:
    """Student's t over the folds of a repeat (they hold different samples); of several repeats, the largest."""
    repeats = {entry["repeat"] for entry in each}
    return max(mean_upper(np.array([e["drop"] for e in each if e["repeat"] == r]), confidence) for r in repeats)
