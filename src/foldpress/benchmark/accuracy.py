"""Paired accuracy: the same samples through the baseline and through the artifact, and how far apart they can be.

Three questions, never mixed: did the graph that ships lose accuracy (the test split); does the recipe lose accuracy when
it is judged on samples that its calibration has not seen (the folds); and would it, had the network been trained on other
samples (refit)?
"""

import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foldpress.benchmark.clusters import grouped_drop_upper, grouped_share_upper
from foldpress.benchmark.divergence import differences, divergences, warning
from foldpress.benchmark.evidence import Paired
from foldpress.benchmark.intervals import clopper_pearson_upper, corrected_mean_upper, mean_upper, tango_upper
from foldpress.benchmark.labels import counted, shares
from foldpress.benchmark.scoring import Task
from foldpress.data import Array, Dataset
from foldpress.identity import Identity


def pair(
    task: Task,
    dataset: Dataset,
    baseline: list[Array],
    artifact: list[Array],
    *,
    repeat: int = 0,
    fold: int = -1,
    trained_on: int = 0,
    identity: Identity | None = None,
) -> Paired:
    """One row for each sample of `dataset`, from both graphs' outputs.

    Args:
        task: how outputs are read and scored.
        dataset: the samples.
        baseline: the baseline's outputs, each [N, …].
        artifact: the artifact's.
        repeat: which drawing of the folds.
        fold: −1 is the test split.
        trained_on: how many samples both networks were trained on, where that is known.
        identity: which samples are copies, and which may err together; without, each stands for itself.
    """
    targets, identity = dataset.y, identity or Identity(dataset.rows, dataset.rows)
    return Paired(
        sample=identity.sample,
        repeat=np.full(len(dataset), repeat),
        fold=np.full(len(dataset), fold),
        target=targets,
        baseline=task.predict(baseline),
        artifact=task.predict(artifact),
        baseline_score=task.score(targets, baseline),
        artifact_score=task.score(targets, artifact),
        group=identity.group,
        trained_on=np.full(len(dataset), trained_on),
        kl=divergences(baseline, artifact, counted(targets) if task.has_labels else None),
        difference=differences(baseline, artifact),
    )


def test_block(table: Paired, has_labels: bool, confidence: float) -> dict[str, Any]:
    """The `accuracy.test` entry of report.json. Copies of a sample count once."""
    table = distinct(table)
    lost = table.baseline_score - table.artifact_score
    block = _means(table, has_labels) | {"drop_upper": _pooled_upper(table, has_labels, confidence)}
    if is_binary(table):
        block["clopper_pearson_upper"] = share_upper(lost > 0, confidence, _groups(table))
    if has_labels:
        block["flips_upper"] = share_upper(_flipped(table), confidence, _groups(table))
    else:
        block["flips_upper"], block["flips_upper_why"] = None, block["flips_why"]
    return block


def folds_block(table: Paired, has_labels: bool, confidence: float) -> dict[str, Any]:
    """The `accuracy.folds` entry of report.json; of the pooled and the fold-level bound, the larger counts."""
    each = _each(table, has_labels)
    pooled, by_fold = _pooled_upper(table, has_labels, confidence), _fold_level(each, confidence)
    summary = _means(table, has_labels) | {"n": len(np.unique(table.sample)), "drop_upper": max(pooled, by_fold)}
    return summary | {"drop_upper_pooled": pooled, "drop_upper_by_fold": by_fold, "each": each}


def refit_block(table: Paired, has_labels: bool, confidence: float) -> dict[str, Any]:
    """The `accuracy.refit` entry of report.json; of the pooled and the corrected bound, the larger counts.

    Baseline and artifact are the networks trained anew in each fold, and what the recipe made of them.
    """
    each = _each(table, has_labels)
    for entry, part in zip(each, _parts(table), strict=True):
        entry["trained_on"] = int(part.trained_on[0])
    ratio = float(np.mean([entry["n"] / entry["trained_on"] if entry["trained_on"] else math.inf for entry in each]))
    corrected = corrected_mean_upper(np.array([entry["drop"] for entry in each]), ratio, confidence)
    pooled = _pooled_upper(table, has_labels, confidence)
    summary = _means(table, has_labels) | {"n": len(np.unique(table.sample)), "drop_upper": max(pooled, corrected)}
    return summary | {"drop_upper_pooled": pooled, "drop_upper_corrected": corrected, "each": each}


def class_drops(table: Paired, confidence: float) -> list[tuple[int, int, float, float]]:
    """Class, samples, drop and upper bound, for each class; Bonferroni keeps all bounds true together."""
    return [(one["class"], one["n"], one["drop"], one["drop_upper"]) for one in classes_block(table, confidence)]


def classes_block(table: Paired, confidence: float) -> list[dict[str, Any]]:
    """The `accuracy.classes` entry of report.json: one row a class; all bounds hold together."""
    table = distinct(table)
    classes = np.unique(table.target[counted(table.target)])
    each = 1 - (1 - confidence) / max(len(classes), 1)
    return [_class_entry(int(label), _of_class(table, label), each) for label in classes]


def _class_entry(label: int, part: Paired, confidence: float) -> dict[str, Any]:
    means = _means(part, has_labels=True)
    entry = {"class": label} | {name: means[name] for name in ("n", "baseline", "artifact", "drop")}
    return entry | {"drop_upper": _pooled_upper(part, True, confidence)}


def _of_class(table: Paired, label: int) -> Paired:
    """The samples that have this class; of several positions those of the class alone count."""
    part = rows(table, (table.target == label).reshape(len(table), -1).any(1))
    if part.target.ndim == 1:
        return part
    where = part.target == label
    before, after = (shares(guess == part.target, where) for guess in (part.baseline, part.artifact))
    return replace(part, baseline_score=before, artifact_score=after)


def drop_upper(lost: NDArray[Any], confidence: float, *, binary: bool, group: NDArray[Any] | None = None) -> float:
    """Upper bound on the mean loss of samples: Tango's for right and wrong, else Student's t; by `group` where there are any.

    Averages of right and wrong, over repeats or over a sample's positions, are fractions: both bounds are taken, Tango's with
    its counts rounded to the unfavourable side, and the larger counts. A fraction varies no more than right and wrong of the
    same mean do, and where nothing changed Student's t would see no spread at all.
    """
    if group is not None:
        return grouped_drop_upper(lost, group, confidence, binary=binary)
    if not binary:
        return mean_upper(lost, confidence)
    b, c = float(lost[lost > 0].sum()), float(-lost[lost < 0].sum())
    bound = tango_upper(math.ceil(b), math.floor(c), len(lost), confidence)
    return bound if np.isin(lost, (-1.0, 0.0, 1.0)).all() else max(bound, mean_upper(lost, confidence))


def share_upper(events: NDArray[Any], confidence: float, group: NDArray[Any] | None = None) -> float:
    """Upper bound on the share of events: Clopper and Pearson's; by `group` where there are any.

    An event may be a share of a sample's positions, which varies no more than an event of the same mean; sums are rounded up.
    """
    if group is not None:
        return grouped_share_upper(events, group, confidence)
    return clopper_pearson_upper(math.ceil(events.sum()), len(events), confidence)


def is_binary(table: Paired) -> bool:
    """Whether every score is right or wrong, 1 or 0."""
    return bool(np.isin([table.baseline_score, table.artifact_score], (0.0, 1.0)).all())


def distinct(table: Paired) -> Paired:
    """The first row of each sample."""
    return rows(table, np.isin(np.arange(len(table)), np.unique(table.sample, return_index=True)[1]))


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
    if _groups(table) is not None:
        block["groups"] = len(np.unique(table.group))
    block["drop"] = float((table.baseline_score - table.artifact_score).mean())
    block["flips"] = float(_flipped(table).mean()) if has_labels else None
    if not has_labels:
        block["flips_why"] = "predictions are not classes"
    return block | {"divergence": warning(table.kl, table.difference)}


def _flipped(table: Paired) -> NDArray[np.float64]:
    """The share of each sample's predictions that changed: 0 or 1 where it has one."""
    return shares(table.baseline != table.artifact, counted(table.target))


def _groups(table: Paired) -> NDArray[Any] | None:
    """Each row's group, or None where every sample is a group of its own."""
    return None if len(np.unique(table.group)) == len(np.unique(table.sample)) else table.group


def _pooled_upper(table: Paired, has_labels: bool, confidence: float) -> float:
    """The bound over all samples, each averaged over repeats: K·N rows of N samples are not K·N samples."""
    _, first, where = np.unique(table.sample, return_index=True, return_inverse=True)
    lost = np.bincount(where, table.baseline_score - table.artifact_score) / np.bincount(where)
    group = _groups(table)
    scores = np.array([table.baseline_score, table.artifact_score])
    binary = is_binary(table) or (has_labels and bool(((scores >= 0) & (scores <= 1)).all()))
    return drop_upper(lost, confidence, binary=binary, group=None if group is None else group[first])


def _parts(table: Paired) -> list[Paired]:
    """The rows of each fold of each repeat."""
    rounds = np.unique(np.stack([table.repeat, table.fold]), axis=1).T
    return [rows(table, (table.repeat == repeat) & (table.fold == fold)) for repeat, fold in rounds]


def _each(table: Paired, has_labels: bool) -> list[dict[str, Any]]:
    return [
        {"fold": int(part.fold[0]), "repeat": int(part.repeat[0])} | _means(part, has_labels) for part in _parts(table)
    ]


def _fold_level(each: list[dict[str, Any]], confidence: float) -> float:
    """Student's t over the folds of a repeat (they hold different samples); of several repeats, the largest."""
    repeats = {entry["repeat"] for entry in each}
    return max(mean_upper(np.array([e["drop"] for e in each if e["repeat"] == r]), confidence) for r in repeats)
