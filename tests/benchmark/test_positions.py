"""Samples with several positions, some of them padding: drops, flips, classes and divergence against plain loops."""

import math
from pathlib import Path

import numpy as np
import pytest
from scipy import special, stats

from foldpress.benchmark import accuracy
from foldpress.benchmark.evidence import Paired
from foldpress.benchmark.intervals import clopper_pearson_upper, mean_upper, tango_upper
from foldpress.benchmark.planning import plan_samples
from foldpress.benchmark.predictions import draw_predictions
from foldpress.benchmark.scoring import make_task
from foldpress.data import Dataset
from foldpress.identity import Identity

N, TOKENS, CLASSES = 80, 6, 3
GENERATOR = np.random.default_rng(0)
TARGETS = np.where(GENERATOR.random((N, TOKENS)) < 0.2, -100, GENERATOR.integers(0, CLASSES, (N, TOKENS)))
TARGETS[:, 0] = 1
BEFORE, AFTER = (
    (np.eye(CLASSES)[np.maximum(TARGETS, 0)] + GENERATOR.normal(size=(N, TOKENS, CLASSES)) * noise).astype(np.float32)
    for noise in (0.3, 0.4)
)


@pytest.fixture(scope="module")
def paired() -> Paired:
    data = Dataset({"x": np.arange(N, dtype=np.float32)[:, None]}, TARGETS)
    return accuracy.pair(make_task("classification", Path(), TARGETS), data, [BEFORE], [AFTER])


def share(scores: np.ndarray, sample: int, label: int | None = None) -> float:
    """Right tokens of a sample, or of its tokens of one class, token by token."""
    tokens = [t for t in range(TOKENS) if TARGETS[sample, t] >= 0 and label in (None, TARGETS[sample, t])]
    return float(np.mean([scores[sample, t].argmax() == TARGETS[sample, t] for t in tokens]))


def test_each_sample_is_one_row(paired: Paired) -> None:
    """Catches tokens counted as samples, padding that counts, and a bound of so many independent tokens."""
    block = accuracy.test_block(paired, has_labels=True, confidence=0.95)
    lost = np.array([share(BEFORE, i) - share(AFTER, i) for i in range(N)])
    assert (block["n"], block["drop"]) == (N, pytest.approx(lost.mean()))
    counts = math.ceil(lost[lost > 0].sum()), math.floor(-lost[lost < 0].sum())
    assert block["drop_upper"] == pytest.approx(max(tango_upper(*counts, N), mean_upper(lost)))
    flips = [
        np.mean([BEFORE[i, t].argmax() != AFTER[i, t].argmax() for t in range(TOKENS) if TARGETS[i, t] >= 0])
        for i in range(N)
    ]
    assert block["flips"] == pytest.approx(np.mean(flips))
    assert block["flips_upper"] == pytest.approx(clopper_pearson_upper(math.ceil(sum(flips)), N))


def test_nothing_changed_is_no_proof_of_nothing() -> None:
    """Catches Student's t, which sees no spread there: a few samples would prove any margin."""
    data = Dataset({"x": np.arange(5, dtype=np.float32)[:, None]}, TARGETS[:5])
    same = accuracy.pair(make_task("classification", Path(), TARGETS), data, [BEFORE[:5]], [BEFORE[:5]])
    assert accuracy.test_block(same, has_labels=True, confidence=0.95)["drop_upper"] == pytest.approx(
        tango_upper(0, 0, 5)
    )


def test_groups_and_folds_of_shares(paired: Paired) -> None:
    """Catches groups passed over where scores are shares, and a fold's samples weighed by their tokens."""
    columns = {**paired.__dict__, "group": np.arange(N) // 8, "fold": np.arange(N) % 4}
    block = accuracy.folds_block(Paired(**columns), has_labels=True, confidence=0.95)
    assert block["groups"] == 10
    assert block["drop_upper"] >= block["drop_upper_pooled"] > block["drop"]
    assert np.mean([one["drop"] for one in block["each"]]) == pytest.approx(block["drop"])


def test_drops_by_class_of_position(paired: Paired) -> None:
    """Catches padding taken for a class, and samples left in that have no position of the class."""
    block = accuracy.classes_block(paired, 0.95)
    assert [one["class"] for one in block] == [0, 1, 2]
    for one in block:
        having = [i for i in range(N) if (TARGETS[i] == one["class"]).any()]
        lost = np.array([share(BEFORE, i, one["class"]) - share(AFTER, i, one["class"]) for i in having])
        assert (one["n"], one["drop"]) == (len(having), pytest.approx(lost.mean()))
        counts = math.ceil(lost[lost > 0].sum()), math.floor(-lost[lost < 0].sum())
        each = 1 - 0.05 / CLASSES
        expected = max(tango_upper(*counts, len(lost), each), mean_upper(lost, each))
        assert one["drop_upper"] == pytest.approx(expected)


def test_divergence_is_the_mean_over_positions(paired: Paired) -> None:
    """Catches a softmax over the tokens, and padding that warns of nothing."""
    for i in range(3):
        tokens = [t for t in range(TOKENS) if TARGETS[i, t] >= 0]
        expected = [stats.entropy(special.softmax(BEFORE[i, t]), special.softmax(AFTER[i, t])) for t in tokens]
        assert paired.kl[i] == pytest.approx(np.mean(expected), rel=1e-4)


def test_what_the_report_draws_and_plans(paired: Paired) -> None:
    """Catches padded tokens among the changed predictions, and padding planned for as the rarest class."""
    changed = int((paired.baseline != paired.artifact)[TARGETS >= 0].sum())
    assert f"{changed} of {int((TARGETS >= 0).sum())} test predictions" in draw_predictions(paired).caption
    rows = np.arange(N)
    (plan,) = plan_samples({"max_class_drop": 0.5}, 0.95, Identity(rows, rows), TARGETS)
    fewest = min(int(np.any(label == TARGETS, axis=1).sum()) for label in range(CLASSES))
    assert plan.detail.endswith(f"there are {fewest}")
