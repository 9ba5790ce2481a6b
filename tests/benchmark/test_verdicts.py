"""Properties of the whole way from tables to verdict, for every estimand: what must hold of any evidence at all."""

import math
from dataclasses import fields
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from foldpress.benchmark.evidence import Evidence, Paired
from foldpress.benchmark.report import build_report

SEVERITY = {"PASS": 0, "INCONCLUSIVE": 1, "FAIL": 2}
LIMITS = {"max_drop": 0.05, "max_flips": 0.2, "max_class_drop": 0.3}


def drawn(seed: int, grouped: bool, n: int = 240) -> Paired:
    """Three classes in four folds, some samples lost and some gained, in groups of ten if asked."""
    generator = np.random.default_rng(seed)
    rows, target = np.arange(n), generator.integers(0, 3, n)
    lost = generator.random(n) < generator.choice([0.0, 0.01, 0.05])
    gained = ~lost & (generator.random(n) < generator.choice([0.0, 0.02]))
    before, after = np.where(gained, 0.0, 1.0), np.where(lost, 0.0, 1.0)
    group = rows // 10 if grouped else rows
    guesses = [np.where(score == 1, target, (target + 1) % 3) for score in (before, after)]
    trained_on = np.full(n, 180)
    return Paired(rows, rows * 0, rows // 10 % 4, target, guesses[0], guesses[1], before, after, group, trained_on)


def verdict(table: Paired | None, **others: Paired) -> str:
    """The verdict where this table is what all three estimands rest on."""
    facts: dict[str, Any] = {
        "has_labels": True, "artifact": "a", "baseline": "b", "graphs": {"a": {"bytes": 1}}, "metric": "accuracy",
        "task": "classification", "timing": {}, "environment": {}, "judged": ["test", "folds", "refit"],
    }  # fmt: skip
    tables: dict[str, Any] = {"test": table, "folds": table, "refit": table} | others
    return str(build_report(Evidence(facts, **tables), LIMITS, 0.95)["verdict"])


def taken(table: Paired, rows: Any) -> Paired:
    return Paired(**{column.name: getattr(table, column.name)[rows] for column in fields(Paired)})


def changed(table: Paired, **columns: Any) -> Paired:
    return Paired(**{column.name: getattr(table, column.name) for column in fields(Paired)} | columns)


@settings(deadline=None)
@given(st.integers(0, 10_000), st.booleans())
def test_order_of_samples_does_not_matter(seed: int, grouped: bool) -> None:
    """Catches a bound that depends on which sample comes first, or columns that are not sorted together."""
    table = drawn(seed, grouped)
    assert verdict(taken(table, np.random.default_rng(seed).permutation(len(table)))) == verdict(table)


@settings(deadline=None)
@given(st.integers(0, 10_000), st.booleans(), st.integers(0, 239))
def test_one_more_loss_never_turns_fail_into_pass(seed: int, grouped: bool, row: int) -> None:
    """Catches a worse graph with the better verdict."""
    table = drawn(seed, grouped)
    after, guess = table.artifact_score.copy(), table.artifact.copy()
    after[row], guess[row] = 0.0, (table.target[row] + 1) % 3
    worse = changed(table, artifact_score=after, artifact=guess)
    assert not (verdict(table) == "FAIL" and verdict(worse) == "PASS")


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.booleans(), st.integers(0, 239), st.sampled_from([math.nan, math.inf, -math.inf]),
       st.sampled_from(["baseline_score", "artifact_score"]), st.sampled_from(["test", "folds", "refit"]))  # fmt: skip
def test_what_is_no_number_never_passes(seed: int, grouped: bool, row: int, odd: float, column: str, name: str) -> None:
    """Catches `nan > limit`, which is false, wherever in the evidence it stands."""
    table = drawn(seed, grouped)
    scores = getattr(table, column).copy()
    scores[row] = odd
    assert verdict(table, **{name: changed(table, **{column: scores})}) != "PASS"


def test_what_is_empty_or_missing_never_passes() -> None:
    """Catches no samples at all taken for no drop; a whole table of the same is let through."""
    perfect = drawn(0, grouped=False)
    perfect = changed(perfect, artifact_score=perfect.baseline_score, artifact=perfect.baseline)
    assert verdict(perfect) == "PASS"
    for absent in (None, taken(perfect, slice(0, 0)), taken(perfect, slice(0, 1))):
        for name in ("test", "folds", "refit"):
            assert verdict(perfect, **{name: absent}) == "INCONCLUSIVE"  # type: ignore[arg-type]
