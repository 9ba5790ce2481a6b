"""Whole-set metrics: what they are, how their drop is bounded, how often the bound is wrong, and what never passes."""

import json
import math
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import f1_score, roc_auc_score

from conftest import Classifier, Invoke, WriteRecipe
from foldpress.benchmark.metrics import make_metric
from foldpress.benchmark.pooled import resample_folds
from foldpress.benchmark.whole_set import MOST_LOST, MetricDrop, load_metric, metric_block, resample, save_metric
from foldpress.errors import DataError

Arrays = tuple[NDArray[Any], list[NDArray[Any]], list[NDArray[Any]]]
METRICS = """
def share(targets, outputs):
    return float((outputs.argmax(1) == targets).mean())

def scores(targets, outputs):
    return outputs.argmax(1) == targets

def nothing(targets, outputs):
    return float("nan")

def raising(targets, outputs):
    raise ValueError("no such metric")
"""


def drawn(generator: np.random.Generator, n: int, lose: float, classes: int = 2) -> Arrays:
    """Targets of which 30 % are not 0, scores that are right nine times in ten, and scores that lost some more."""
    target = np.where(generator.random(n) < 0.3, generator.integers(1, classes, n), 0)
    right, lost = generator.random(n) < 0.9, generator.random(n) < lose
    answers = [np.where(kept, target, (target + 1) % classes) for kept in (right, right & ~lost)]
    before, after = (np.eye(classes)[one] + generator.random((n, classes)) / 10 for one in answers)
    return target, [before.astype(np.float32)], [after.astype(np.float32)]


def f1(targets: NDArray[Any], outputs: list[NDArray[Any]]) -> float:
    """Macro F1 of two classes, by its definition; as fast as a simulation needs it."""
    guess, found = outputs[0].argmax(1), []
    for label in (0, 1):
        hits = np.sum((guess == label) & (targets == label))
        found.append(2 * hits / max(np.sum(guess == label) + np.sum(targets == label), 1))
    return float(np.mean(found))


def test_named_metrics_are_scikit_learns() -> None:
    """Catches micro taken for macro, and an area over labels instead of scores."""
    target, scores, _ = drawn(np.random.default_rng(0), 300, 0.0, classes=4)
    expected = f1_score(target, scores[0].argmax(1), average="macro")
    assert make_metric("f1", Path())(target, scores) == pytest.approx(expected)
    areas = [roc_auc_score(target == label, scores[0][:, label]) for label in range(4)]
    assert make_metric("auc", Path())(target, scores) == pytest.approx(np.mean(areas))
    assert math.isnan(make_metric("auc", Path())(np.zeros(5, int), [scores[0][:5]]))
    two, scores, _ = drawn(np.random.default_rng(1), 200, 0.0)
    assert f1(two, scores) == pytest.approx(make_metric("f1", Path())(two, scores))


def test_named_metrics_count_positions() -> None:
    """Catches padding among the classes, and scores read along the positions."""
    generator = np.random.default_rng(0)
    target = np.where(generator.random((50, 6)) < 0.2, -1, generator.integers(0, 3, (50, 6)))
    scores = generator.random((50, 3, 6)).astype(np.float32)
    counts = target >= 0
    flat = np.moveaxis(scores, 1, 2)[counts]
    expected = f1_score(target[counts], flat.argmax(1), average="macro")
    assert make_metric("f1", Path())(target, [scores]) == pytest.approx(expected)
    areas = [roc_auc_score(target[counts] == label, flat[:, label]) for label in range(3)]
    assert make_metric("auc", Path())(target, [scores]) == pytest.approx(np.mean(areas))


def test_resamples_are_those_of_a_loop() -> None:
    """Catches the two graphs scored on different draws, targets left in place, and groups that are torn apart."""
    target, before, after = drawn(np.random.default_rng(0), 60, 0.1)
    group = np.arange(60) // 6
    found = resample(f1, target, before, after, group, has_labels=False, resamples=20, seed=3)
    generator = np.random.default_rng(3)
    for drop in found.resampled:
        rows = [row for one in generator.integers(10, size=10) for row in range(6 * one, 6 * one + 6)]
        assert drop == pytest.approx(f1(target[rows], [before[0][rows]]) - f1(target[rows], [after[0][rows]]))
    assert (found.baseline, found.artifact, found.n) == (f1(target, before), f1(target, after), 60)


@pytest.mark.parametrize("as_labels", [False, True])
def test_a_classification_always_loses_some_more(as_labels: bool) -> None:
    """Catches a bound that collapses where nothing flipped: here nothing did, and three of 200 may have."""

    def right(targets: NDArray[Any], outputs: list[NDArray[Any]]) -> float:
        return float(np.mean((outputs[0] if as_labels else outputs[0].argmax(1)) == targets))

    target = np.arange(200) % 3
    outputs = [target.copy() if as_labels else np.eye(3, dtype=np.float32)[target]]
    found = resample(right, target, outputs, outputs, np.arange(200), has_labels=True, resamples=50)
    assert MOST_LOST == 3
    np.testing.assert_allclose(found.resampled, 3 / 200)
    assert outputs[0].max() == (2 if as_labels else 1)  # what was given is left as it was


def test_a_sample_with_several_positions_is_lost_as_a_whole() -> None:
    """Catches single positions lost in place of samples, which are what is drawn; and padding that is in the way."""
    target = np.where(np.arange(8) < 5, np.arange(1600).reshape(200, 8) % 3, -100)
    scores = np.moveaxis(np.eye(3, dtype=np.float32)[np.maximum(target, 0)], 2, 1)  # [N, C, T]
    found = resample(
        make_metric("f1", Path()), target, [scores], [scores], np.arange(200), has_labels=True, resamples=5
    )

    def right(targets: NDArray[Any], outputs: list[NDArray[Any]]) -> float:
        return float((outputs[0].argmax(1) == targets)[targets >= 0].mean())

    assert (found.resampled > 0).all()
    same = resample(right, target, [scores], [scores], np.arange(200), has_labels=True, resamples=5)
    np.testing.assert_allclose(same.resampled, 3 / 200)


def test_false_passes_at_the_margin() -> None:
    """Catches a bootstrap that is believed where few samples flip."""
    generator, n, lose = np.random.default_rng(0), 300, 0.03
    target, before, after = drawn(generator, 1_000_000, lose)
    margin, passed = f1(target, before) - f1(target, after), 0
    for repetition in range(250):
        found = resample(f1, *drawn(generator, n, lose), np.arange(n), has_labels=True, resamples=200, seed=repetition)
        passed += metric_block(found, 0.95)["drop_upper"] <= margin
    assert passed / 250 <= 0.07


@pytest.mark.parametrize("resampled", [np.zeros(9), np.array([0.1, math.nan]), np.array([0.0, math.inf])])
def test_without_a_spread_nothing_is_proven(resampled: NDArray[np.float64]) -> None:
    """Catches a bound of zero made up from outputs that happen to be equal, and NaN that becomes a bound."""
    assert metric_block(MetricDrop(0.9, 0.9, 100, resampled), 0.95)["drop_upper"] == math.inf


def test_round_trip(tmp_path: Path) -> None:
    """Catches a figure lost on the way to the disk."""
    given = MetricDrop(0.9, 0.8, 7, np.array([0.1, 0.2]), np.array([[[0.9, 0.8]]]))
    save_metric(given, tmp_path / "whole_set.npz")
    found = load_metric(tmp_path / "whole_set.npz")
    assert found is not None
    assert (found.baseline, found.artifact, found.n, found.resampled.tolist()) == (0.9, 0.8, 7, [0.1, 0.2])
    assert found.by_fold.tolist() == [[[0.9, 0.8]]]
    assert load_metric(tmp_path / "absent.npz") is None


def test_one_number_is_needed(tmp_path: Path) -> None:
    """Catches per-sample scores taken for a metric of the whole set."""
    (tmp_path / "metrics.py").write_text(METRICS)
    target, scores, _ = drawn(np.random.default_rng(0), 20, 0.0)
    with pytest.raises(DataError, match="one number"):
        make_metric("metrics:scores", tmp_path)(target, scores)


@pytest.fixture
def briefly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few draws, for runs whose bound is not looked at closely."""
    for draws in (resample, resample_folds):
        monkeypatch.setattr(f"foldpress.judging.{draws.__name__}", partial(draws, resamples=100))


@pytest.mark.usefixtures("briefly")
def test_a_run_judges_it_and_the_gate_again(recipe: WriteRecipe, tmp_path: Path, invoke: Invoke) -> None:
    """Catches a metric that is measured and not judged, or passed over where its evidence is gone."""
    path = recipe(data={"metric": "f1"}, gate={"max_drop": None, "max_metric_drop": 0.1})
    result = invoke("run", path, "-o", tmp_path / "out", "--json", "-q")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    for check, name, where in zip(report["checks"], ("whole_set", "whole_set_folds"), ("test", "folds"), strict=True):
        block = report["accuracy"][name]
        assert (check["name"], check["n"]) == ("max_metric_drop" + "_folds" * (where == "folds"), block["n"])
        assert (check["value"], check["bound"]) == (block["drop"], block["drop_upper"])
        assert (block["metric"], block["n"]) == ("f1", report["accuracy"][where]["n"])
        assert f"{'all folds' if where == 'folds' else 'test split'}, f1" in (tmp_path / "out/report.md").read_text()
    assert invoke("gate", tmp_path / "out", "-q").exit_code == 0
    for name in ("whole_set", "whole_set_folds"):
        kept = (tmp_path / f"out/evidence/{name}.npz").rename(tmp_path / "kept.npz")
        assert invoke("gate", tmp_path / "out", "-q").exit_code == 3
        kept.rename(tmp_path / f"out/evidence/{name}.npz")
    assert invoke("gate", tmp_path / "out", "-q").exit_code == 0


@pytest.mark.usefixtures("briefly")
@pytest.mark.parametrize(
    ("metric", "code"),
    [
        ("metrics:raising", 2),
        ("metrics:nothing", 3),
        ("metrics:scores", 2),
        ("metrics:absent", 2),
        ("f2", 2),
        (None, 3),
    ],
)
def test_what_is_no_metric_never_passes(
    metric: str | None, code: int, recipe: WriteRecipe, tmp_path: Path, invoke: Invoke
) -> None:
    """Catches a limit on a metric that failed, is no number, or was never asked for."""
    (tmp_path / "metrics.py").write_text(METRICS)
    path = recipe(data={"metric": metric}, gate={"max_drop": None, "max_metric_drop": 0.1})
    assert invoke("run", path, "-o", tmp_path / "out", "-q").exit_code == code


@pytest.mark.parametrize(
    ("options", "code", "checks"),
    [
        (["--metric", "f1", "--max-metric-drop", "0.1"], 0, ["max_metric_drop"]),
        (["--metric", "f1", "--max-metric-drop", "0.1", "--max-drop", "0.1"], 0, ["max_drop", "max_metric_drop"]),
        (["--max-metric-drop", "0.1"], 3, ["max_metric_drop"]),
        (["--metric", "f2", "--max-metric-drop", "0.1"], 2, []),
    ],
)
def test_validate_judges_it(
    options: list[str], code: int, checks: list[str], classifier: Classifier, invoke: Invoke
) -> None:
    """Catches a metric that only a whole run measures, and a limit on one that nobody asked for."""
    net = classifier.net
    result = invoke("validate", net, net, "-d", classifier.data, *options, "--json", "-q")
    assert result.exit_code == code, result.output
    if checks:
        found = json.loads(result.stdout)
        assert sorted(check["name"] for check in found["checks"]) == checks
        asked = "--metric" in options
        assert ("whole_set" in found["accuracy"]) == asked
        if asked:
            block = found["accuracy"]["whole_set"]
            assert (block["metric"], block["n"], block["drop"]) == (options[1], 1100, 0)
            assert 0 < block["drop_upper"] < 0.1  # nothing changed, and still something may have
