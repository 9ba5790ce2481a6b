"""How many samples a margin needs: against the bounds themselves, and said in time."""

import json
from pathlib import Path

import numpy as np
import pytest

from conftest import Arrays, Classifier, Invoke, WriteRecipe
from foldpress.benchmark.accuracy import share_upper
from foldpress.benchmark.clusters import grouped_drop_upper
from foldpress.benchmark.intervals import tango_upper
from foldpress.benchmark.planning import plan_samples, samples_with_flips, samples_without_flips
from foldpress.identity import Identity
from levels import Setting, one_artifact


def identity(n: int, groups: int | None = None) -> Identity:
    rows = np.arange(n)
    return Identity(rows, rows if groups is None else rows % groups)


@pytest.mark.parametrize("margin", [0.003, 0.01, 0.05, 0.5])
@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
def test_one_sample_less_could_not_pass(margin: float, confidence: float) -> None:
    """Catches a number from another formula than the gate's."""
    n = samples_without_flips(margin, confidence)
    assert tango_upper(0, 0, n, confidence) <= margin
    assert n == 1 or tango_upper(0, 0, n - 1, confidence) > margin


def test_groups_need_more() -> None:
    """Catches a promise that a check by group does not keep."""
    n = samples_without_flips(0.02, 0.95, groups=6)
    assert grouped_drop_upper(np.zeros(n), np.arange(n) % 6, binary=True) <= 0.02
    assert grouped_drop_upper(np.zeros(n - 1), np.arange(n - 1) % 6, binary=True) > 0.02


def test_with_flips_the_chance_is_what_was_said() -> None:
    """Catches a power that is off: the numbers of the field notes, and a simulation at the first of them."""
    assert [samples_with_flips(margin, 0.95) for margin in (0.01, 0.005)] == [1237, 4947]
    setting = Setting(1237, 0.01, 0.02 + 0.01)  # without a drop, flips are what exceeds the margin
    assert one_artifact(setting, 20_000, drop=0.0) == pytest.approx(0.8, abs=0.05)


@pytest.mark.parametrize(("limit", "n", "enough"), [
    ("max_drop", 268, True), ("max_drop", 267, False), ("max_flips", 299, True), ("max_flips", 298, False),
])  # fmt: skip
def test_what_is_enough(limit: str, n: int, enough: bool) -> None:
    """Catches a warning at the wrong number; flips are bounded by Clopper and Pearson, and need a tenth more."""
    (plan,) = plan_samples({limit: 0.01}, 0.95, identity(n), np.zeros(n, int))
    assert (plan.limit, plan.enough) == (limit, enough)
    assert ("cannot pass" in plan.detail) == (not enough)
    bound = tango_upper(0, 0, n) if limit == "max_drop" else share_upper(np.zeros(n, bool), 0.95)
    assert (bound <= 0.01) == enough


def test_classes_and_copies_count_as_the_gate_counts_them() -> None:
    """Catches copies that are promised to count, and the largest class in place of the smallest."""
    targets = np.repeat([0, 1], [300, 60])
    (plan,) = plan_samples({"max_class_drop": 0.05}, 0.95, identity(360), targets)
    assert not plan.enough
    assert "there are 60" in plan.detail
    (plan,) = plan_samples({"max_class_drop": 0.06}, 0.95, identity(360), targets)
    assert plan.enough == (tango_upper(0, 0, 60, 0.975) <= 0.06)
    copies = Identity(np.arange(400) % 200, np.arange(400) % 200)
    (plan,) = plan_samples({"max_drop": 0.01}, 0.95, copies, np.zeros(400, int))
    assert "there are 200" in plan.detail
    assert plan_samples({"max_drop": 0.0, "max_flips": 1.0, "max_bytes": 5.0}, 0.95, copies, targets) == []


def test_it_is_said_at_once_and_the_run_goes_on(
    recipe: WriteRecipe, invoke: Invoke, tmp_path: Path, classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a warning after an hour of work, and a run that gives up its other figures."""
    few: Arrays = {name: array[:150] for name, array in classifier.held_out.items()}
    monkeypatch.chdir(tmp_path)
    path = recipe(data={"source": "few.npz"}, gate={"max_drop": 0.01})
    np.savez("few.npz", **few)  # type: ignore[arg-type]
    result = invoke("run", path, "-o", tmp_path / "out", "--json")
    assert result.exit_code in (1, 3)
    first = result.stderr.splitlines()[0]
    assert "max_drop = 0.01 needs 268 test samples" in first
    assert "cannot pass" in first
    facts = json.loads((tmp_path / "out/evidence/facts.json").read_text())
    assert [entry["action"] for entry in facts["log"] if entry["pass"] == "samples"] == ["declined"]
    assert json.loads(result.stdout)["latency"]
