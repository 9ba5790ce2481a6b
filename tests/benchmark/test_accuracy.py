"""Paired accuracy: means, flips and bounds from per-sample tables, against plain loops."""

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import ArrayLike

from foldpress.benchmark import accuracy
from foldpress.benchmark.evidence import Paired
from foldpress.benchmark.intervals import clopper_pearson_upper, mean_upper, tango_upper
from foldpress.benchmark.scoring import make_task
from foldpress.data import Dataset


def table(before: ArrayLike, after: ArrayLike, **columns: Any) -> Paired:
    """Right (1) and wrong (0) before and after, on one test split unless told otherwise."""
    right, kept = np.asarray(before, float), np.asarray(after, float)
    n = len(right)
    usual: dict[str, Any] = {
        "sample": np.arange(n), "repeat": np.zeros(n, int), "fold": np.full(n, -1), "target": np.zeros(n, int),
        "baseline": (right != 1) * 1, "artifact": (kept != 1) * 2,
        "baseline_score": right, "artifact_score": kept,
    }  # fmt: skip
    return Paired(**usual | columns)


def drawn(n: int, lost: int, gained: int) -> tuple[list[int], list[int]]:
    """Scores of n samples of which so many were lost and gained."""
    both = n - lost - gained
    return [1] * lost + [0] * gained + [1] * both, [0] * lost + [1] * gained + [1] * both


def test_pair_keeps_rows_apart() -> None:
    """Catches a shuffled column, and scores that do not belong to their sample."""
    data = Dataset({"x": np.zeros((4, 1))}, np.array([0, 1, 1, 0])).select(np.array([3, 1, 2]))
    scores = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])
    paired = accuracy.pair(make_task("classification", None, data.y), data, [scores], [1 - scores], repeat=2, fold=4)  # type: ignore[arg-type]
    assert paired.sample.tolist() == [3, 1, 2]
    assert paired.target.tolist() == [0, 1, 1]
    assert (paired.baseline.tolist(), paired.artifact.tolist()) == ([0, 1, 0], [1, 0, 1])
    assert (paired.baseline_score.tolist(), paired.artifact_score.tolist()) == ([1, 1, 0], [0, 0, 1])
    assert (set(paired.repeat), set(paired.fold)) == ({2}, {4})


def test_test_block_against_counting() -> None:
    """Catches a drop of the wrong sign, flips that count only losses, and a bound of other counts."""
    block = accuracy.test_block(table(*drawn(360, 5, 2)), has_labels=True, confidence=0.95)
    assert block["n"] == 360
    assert block["baseline"] == pytest.approx(358 / 360)
    assert block["artifact"] == pytest.approx(355 / 360)
    assert block["drop"] == pytest.approx(3 / 360)
    assert block["drop_upper"] == tango_upper(5, 2, 360)
    assert block["clopper_pearson_upper"] == clopper_pearson_upper(5, 360)


def test_flips_count_wrong_answers_that_change() -> None:
    """Catches flips read off the scores: wrong before and otherwise wrong after is a flip too."""
    flipped = table([0, 0, 1, 1], [0, 0, 1, 1], baseline=np.array([1, 1, 0, 0]), artifact=np.array([1, 2, 0, 0]))
    block = accuracy.test_block(flipped, has_labels=True, confidence=0.95)
    assert (block["drop"], block["flips"]) == (0, 0.25)
    assert block["flips_upper"] == clopper_pearson_upper(1, 4)


def test_numbers_do_not_flip() -> None:
    """Catches a flip rate of real-valued predictions, which would always be 1."""
    block = accuracy.test_block(table([0.5, 0.25], [0.5, 0.125]), has_labels=False, confidence=0.95)
    assert (block["flips"], block["flips_upper"]) == (None, None)
    assert block["flips_why"]
    assert block["drop_upper"] == pytest.approx(mean_upper(np.array([0, 0.125])))


def test_repeats_of_a_sample_are_averaged_first() -> None:
    """Catches K·N rows taken for K·N samples, which passes wrongly 23 % of the time."""
    before, after = drawn(300, 3, 1)
    once = table(before, after, fold=np.arange(300) % 5)
    repeats = [table(before, after, fold=np.arange(300) % 5, repeat=np.full(300, repeat)) for repeat in range(10)]
    one = accuracy.folds_block(once, has_labels=True, confidence=0.95)
    many = accuracy.folds_block(accuracy.concatenate(repeats), has_labels=True, confidence=0.95)
    assert many["n"] == one["n"] == 300
    for key in ("drop", "drop_upper", "drop_upper_pooled", "drop_upper_by_fold"):
        assert many[key] == pytest.approx(one[key])
    assert len(many["each"]) == 50


def test_fractions_of_repeats_take_the_larger_bound() -> None:
    """Catches a bound on averaged right and wrong that rounds towards a pass."""
    lost = np.array([0.5, 0.5, 0.25, -0.5, *[0.0] * 96])
    rounded = tango_upper(math.ceil(1.25), math.floor(0.5), 100)
    assert accuracy.drop_upper(lost, 0.95, binary=True) == max(rounded, mean_upper(lost))
    assert accuracy.drop_upper(np.zeros(100), 0.95, binary=True) == tango_upper(0, 0, 100)


@pytest.mark.parametrize("lost_in", [[4, 0, 0, 0, 0], [1, 1, 1, 1, 0]])
def test_the_larger_of_pooled_and_fold_level_counts(lost_in: list[int]) -> None:
    """Catches folds that disagree, averaged into a narrow bound; here all losses lie in one fold."""
    fold = np.repeat(np.arange(5), 60)
    after = np.ones(300)
    for index, lost in enumerate(lost_in):
        after[np.flatnonzero(fold == index)[:lost]] = 0
    block = accuracy.folds_block(table(np.ones(300), after, fold=fold), has_labels=True, confidence=0.95)
    by_fold = mean_upper(np.array(lost_in) / 60)
    assert block["drop_upper_by_fold"] == pytest.approx(by_fold)
    assert block["drop_upper"] == max(by_fold, tango_upper(4, 0, 300))
    assert (block["drop_upper"] == pytest.approx(by_fold)) == (lost_in[0] == 4)
    assert [(entry["fold"], entry["n"], entry["drop"]) for entry in block["each"]] == [
        (index, 60, pytest.approx(lost / 60)) for index, lost in enumerate(lost_in)
    ]


def test_repeats_with_other_folds_are_not_mixed() -> None:
    """Catches folds of two repeats thrown together: fold 0 of one repeat is not fold 0 of the next."""
    after = np.ones(40)
    after[:2] = 0
    parts = [table(np.ones(40), after, repeat=np.full(40, r), fold=(np.arange(40) + r) % 2) for r in range(2)]
    block = accuracy.folds_block(accuracy.concatenate(parts), has_labels=True, confidence=0.95)
    assert [(entry["repeat"], entry["fold"], entry["n"]) for entry in block["each"]] == [
        (0, 0, 20), (0, 1, 20), (1, 0, 20), (1, 1, 20),
    ]  # fmt: skip


def test_class_drops_with_bonferroni() -> None:
    """Catches a class lost behind the average, and per-class bounds that do not all hold together."""
    target = np.repeat([0, 1, 2, 7], 50)
    after = np.where((target == 2) & (np.arange(200) % 10 == 0), 0, 1)
    found = accuracy.class_drops(table(np.ones(200), after, target=target), 0.95)
    each = 1 - 0.05 / 4
    assert found == [
        (label, 50, lost / 50, tango_upper(lost, 0, 50, each)) for label, lost in ((0, 0), (1, 0), (2, 5), (7, 0))
    ]


def test_classes_of_the_report_are_those_of_the_gate() -> None:
    """Catches a class with another one's scores, and a bound in the report that the gate does not judge by."""
    target = np.tile([3, 1, 8], 40)
    before, after = np.where(target == 8, 0.0, 1.0), np.where((target == 1) & (np.arange(120) < 60), 0.0, 1.0)
    measured = table(before, after, target=target)
    assert accuracy.classes_block(measured, 0.95) == [
        {"class": label, "n": 40, "baseline": scores[0], "artifact": scores[1], "drop": drop, "drop_upper": upper}
        for (label, _, drop, upper), scores in zip(
            accuracy.class_drops(measured, 0.95), [(1.0, 0.5), (1.0, 1.0), (0.0, 1.0)], strict=True
        )
    ]


def test_scores_that_are_no_numbers_reach_the_gate_as_such() -> None:
    """Catches NaN scores that are dropped on the way: what is unknown must stay unknown."""
    block = accuracy.test_block(
        table([1, math.nan], [1, 1], baseline=np.zeros(2, int)), has_labels=True, confidence=0.95
    )
    assert math.isnan(block["drop"])
    assert not math.isfinite(block["drop_upper"])
