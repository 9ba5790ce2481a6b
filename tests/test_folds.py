"""Folds: every sample in exactly one of them, groups whole, the test split sealed."""

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import TimeSeriesSplit

from foldpress.data import Dataset
from foldpress.errors import DataError, LeakageError
from foldpress.folds import SealedTest, make_folds
from foldpress.optimizer.statistics import collect_ranges
from foldpress.schemes import Scheme

SCHEMES: list[Scheme] = ["kfold", "stratified", "group", "stratified-group"]
GROUPED: list[Scheme] = ["group", "stratified-group", "leave-one-group-out"]


def dataset(n: int, classes: int = 3, per_group: int = 2) -> Dataset:
    """Unlike samples, classes in turn, groups of consecutive samples."""
    rows = np.arange(n)
    return Dataset({"x": rows[:, None].astype(np.float32)}, rows % classes, rows // per_group)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(SCHEMES), st.integers(60, 200), st.integers(2, 5), st.integers(1, 3), st.sampled_from([0.2, 0.3, 0.5]),
    st.integers(0, 5),
)  # fmt: skip
def test_partition(scheme: Scheme, n: int, splits: int, repeats: int, share: float, seed: int) -> None:
    """Catches a sample in two folds, in none, or in a fold and the test split; and groups that are torn apart."""
    data = dataset(n)
    folds = make_folds(data, splits=splits, scheme=scheme, repeats=repeats, test=share, seed=seed)
    test = folds.test.open("any")
    assert sorted([*folds.development.rows, *test.rows]) == list(range(n))
    assert folds.numbers.shape == (repeats, len(folds.development))
    for repeat, fold in folds.rounds():
        held_out, calibration = folds.held_out(repeat, fold), folds.calibration(repeat, fold)
        assert len(held_out)
        assert sorted([*held_out, *calibration]) == list(range(len(folds.development)))
        if scheme.endswith("group"):
            assert not set(groups(folds.development, held_out)) & set(groups(folds.development, calibration))
    assert len(list(folds.rounds())) == repeats * splits
    assert abs(len(test) / n - share) < 0.15
    if scheme.endswith("group"):
        assert not set(groups(test)) & set(groups(folds.development))


def groups(data: Dataset, rows: Any = slice(None)) -> list[int]:
    group = data.group
    assert group is not None
    return list(group[rows])


@pytest.mark.parametrize("scheme", SCHEMES)
def test_deterministic_by_seed(scheme: Scheme) -> None:
    """Catches folds that differ between two runs of one recipe, and a seed or a repeat that changes nothing."""
    made = [make_folds(dataset(90), scheme=scheme, seed=seed, repeats=2, splits=3) for seed in (0, 0, 1)]
    assert np.array_equal(made[0].numbers, made[1].numbers)
    assert np.array_equal(made[0].test.open("a").rows, made[1].test.open("a").rows)
    assert not np.array_equal(made[0].numbers[0], made[0].numbers[1])
    assert not np.array_equal(made[0].development.rows, made[2].development.rows)


@pytest.mark.parametrize("scheme", GROUPED)
def test_groups_stay_whole(scheme: Scheme) -> None:
    """Catches a group that is on two sides: what is learned from a speaker would judge the same speaker."""
    folds = make_folds(dataset(120, per_group=12), scheme=scheme, splits=3)
    sides = [set(groups(folds.development, folds.held_out(0, fold))) for _, fold in folds.rounds()]
    sides.append(set(groups(folds.test.open("any"))))
    assert sum(map(len, sides)) == len(set.union(*sides)) == 10
    if scheme == "leave-one-group-out":
        assert [len(side) for side in sides[:-1]] == [1] * (10 - len(sides[-1]))


def test_time_goes_one_way() -> None:
    """Catches a fold that is judged by what was learned from its future; scikit-learn's own splits are the reference."""
    data = dataset(103)
    folds = make_folds(data, scheme="time-series", splits=4, test=0.2)
    n = len(folds.development)
    assert folds.development.rows.tolist() == list(range(n))
    assert folds.test.open("any").rows.tolist() == list(range(n, 103))
    assert len(folds.test) == 21
    reference = list(TimeSeriesSplit(4).split(np.arange(n)))
    assert list(folds.rounds()) == [(0, fold) for fold in range(4)]
    for (repeat, fold), (past, block) in zip(folds.rounds(), reference, strict=True):
        assert folds.calibration(repeat, fold).tolist() == past.tolist()
        assert folds.held_out(repeat, fold).tolist() == block.tolist()
        number, row = folds.left_out(repeat, fold)
        assert np.flatnonzero(folds.numbers[row] != number).tolist() == past.tolist()
        assert len(folds.training(repeat, fold).development) == len(past)


def test_what_is_merged_in_time_is_the_past_alone() -> None:
    """Catches statistics of later samples in an earlier fold: here values grow with time, so their maximum tells."""
    graph = ir.from_onnx_text(
        '<ir_version: 9, opset_import: ["" : 18]> g (float[N, 1] x) => (float[N, 1] y) { y = Relu(x) }'
    )
    folds = make_folds(dataset(60), scheme="time-series", splits=4)
    found = collect_ranges(graph, ["x"], folds.development, folds.numbers)
    seen = [found.without(*folds.left_out(0, fold)).maximum[0] for fold in range(4)]
    assert seen == [folds.calibration(0, fold).max() for fold in range(4)]
    assert found.all().maximum[0] == len(folds.development) - 1


def test_a_plain_held_out_split_has_no_folds() -> None:
    """Catches a round that leaves everything out, and a test split that is not held out."""
    folds = make_folds(dataset(100), scheme="holdout", test=0.3, seed=1)
    assert list(folds.rounds()) == []
    test = folds.test.open("any")
    assert (len(test), len(folds.development)) == (30, 70)
    assert sorted([*test.rows, *folds.development.rows]) == list(range(100))
    assert not np.array_equal(np.sort(test.rows), np.arange(70, 100))


@pytest.mark.parametrize("scheme", ["leave-one-group-out", "time-series", "holdout"])
def test_what_is_not_drawn_is_not_repeated(scheme: Scheme) -> None:
    """Catches repeats of the same folds, which would look like more evidence."""
    with pytest.raises(DataError, match="nothing to repeat"):
        make_folds(dataset(100), scheme=scheme, repeats=2)


def test_strata_are_kept() -> None:
    """Catches a rare class that is missing in a fold, whose drop nobody would see."""
    rare = (np.arange(300) % 10 == 0).astype(int)
    folds = make_folds(Dataset({"x": np.arange(300.0)[:, None]}, rare), splits=5, scheme="stratified")
    shares = [folds.development.y[folds.held_out(0, fold)].mean() for fold in range(5)]
    assert max(shares) - min(shares) < 0.03
    assert folds.test.open("a").y.mean() == pytest.approx(0.1, abs=0.02)


def test_the_test_split_opens_for_one_digest_only() -> None:
    """Catches a second artifact judged on it: the better of two would be chosen by the test split."""
    sealed = SealedTest(dataset(10))
    assert len(sealed) == 10
    assert sealed.opened_for is None
    assert sealed.open("one") is sealed.open("one")
    with pytest.raises(LeakageError, match="already opened"):
        sealed.open("two")
    assert sealed.opened_for == "one"


@pytest.mark.parametrize("scheme", ["kfold", "stratified"])
def test_duplicates_by_content_across_a_split_are_named(scheme: Scheme) -> None:
    """Catches a copy of a sample on the other side: its statistics would judge itself."""
    data = dataset(60)
    copied = np.concatenate([data.inputs["x"], data.inputs["x"]])
    twice = Dataset({"x": copied}, np.tile(data.y, 2), np.tile(np.arange(60), 2))
    with pytest.raises(LeakageError, match=r"fold \d sample \d+ = (fold \d|test) sample \d+"):
        make_folds(twice, scheme=scheme)
    make_folds(twice, scheme="group")  # in one group they stay on one side


@pytest.mark.parametrize(
    ("data", "scheme", "said"),
    [(dataset(3), "kfold", "3 samples cannot"), (dataset(30, classes=10), "stratified", r"fewer members.*0 \(3\)"),
     (dataset(30, per_group=10), "group", "the data have 3"), (Dataset({"x": np.zeros((9, 1))}, np.zeros(9)), "stratified", "integer"),
     (Dataset({"x": np.arange(9.0)[:, None]}, np.zeros(9, int)), "group", "the data have 0"),
     (Dataset({"x": np.arange(9.0)[:, None]}), "stratified", "no targets"),
     (dataset(30, per_group=30), "leave-one-group-out", "the data have 1"), (dataset(5), "time-series", "5 samples cannot")],
)  # fmt: skip
def test_too_little_is_said(data: Dataset, scheme: Scheme, said: str) -> None:
    """Catches scikit-learn's own words, or a fold that is empty."""
    with pytest.raises(DataError, match=said):
        make_folds(data, scheme=scheme)


def test_a_test_split_that_cannot_be_made_is_said() -> None:
    """Catches a traceback of scikit-learn where the share leaves no sample for a class."""
    with pytest.raises(DataError, match="no test split of 1%"):
        make_folds(dataset(60), scheme="stratified", test=0.01)
