"""From outputs to scores: classes, R² and the user's own metric."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, r2_score

from foldpress.benchmark.labels import labels
from foldpress.benchmark.scoring import check_targets, make_task, output_position
from foldpress.data import Dataset
from foldpress.errors import DataError, GraphError, RequestError

HERE = Path()
GENERATOR = np.random.default_rng(0)


def test_accuracy_is_scikit_learns() -> None:
    """Catches a score that is no accuracy."""
    targets, scores = GENERATOR.integers(0, 4, 50), GENERATOR.normal(size=(50, 4)).astype(np.float32)
    task = make_task("classification", HERE, np.arange(3))
    assert task.score(targets, [scores]).mean() == accuracy_score(targets, scores.argmax(1))
    assert task.has_labels


@pytest.mark.parametrize("shape", [(60,), (60, 1), (60, 3)])
def test_mean_of_scores_is_r2(shape: tuple[int, ...]) -> None:
    """Catches per-sample terms whose mean is not the metric that the report names."""
    wanted = GENERATOR.normal(size=shape)
    given = (wanted + 0.3 * GENERATOR.normal(size=shape)).astype(np.float32)
    task = make_task("regression", HERE, wanted)
    assert task.score(wanted, [given]).mean() == pytest.approx(r2_score(wanted, given))
    assert not task.has_labels


def test_every_part_is_scored_in_the_same_unit() -> None:
    """Catches scores scaled by the variance of the fold that they belong to, which cannot be pooled."""
    wanted, given = np.arange(10.0), np.arange(10.0) + 1
    task = make_task("regression", HERE, wanted)
    whole = task.score(wanted, [given])
    assert (
        np.concatenate([task.score(wanted[:3], [given[:3]]), task.score(wanted[3:], [given[3:]])]).tolist()
        == whole.tolist()
    )


@pytest.mark.parametrize(
    "outputs", [np.array([3, 0, 2]), np.array([[3], [0], [2]]), np.eye(4, dtype=np.float32)[[3, 0, 2]]]
)
def test_labels_of_every_form(outputs: np.ndarray) -> None:
    """Catches label outputs (as of scikit-learn's exporter) taken for scores."""
    assert labels([outputs]).tolist() == [3, 0, 2]


@pytest.mark.parametrize(
    "outputs", [np.zeros((3, 1), np.float32), np.zeros(3, np.float32), np.zeros((3, 4, 5), np.float32)]
)
def test_outputs_that_are_no_classes_are_refused(outputs: np.ndarray) -> None:
    """Catches a single logit whose argmax is always class 0: accuracy would say nothing."""
    with pytest.raises(GraphError, match="classes are scores"):
        labels([outputs])


def test_nan_scores_are_never_right() -> None:
    """Catches argmax, which takes NaN for the largest: a broken graph would be right wherever class 0 is."""
    broken = np.full((4, 3), np.nan, np.float32)
    broken[3] = [0, 1, 0]
    assert make_task("classification", HERE, np.arange(3)).score(np.array([0, 1, 2, 1]), [broken]).tolist() == [
        0,
        0,
        0,
        1,
    ]


@pytest.mark.parametrize(
    ("targets", "said"),
    [(np.array([0, 3, -1]), "-1 at index 12"), (np.array([0, 10, 1]), "10 at index 11"), (np.array([0.0, 1.0, 2.0]), "integers"),
     (np.zeros((3, 2)), "integers")],
)  # fmt: skip
def test_labels_out_of_range_name_the_sample(targets: np.ndarray, said: str) -> None:
    """Catches labels that no class has, which would only lower the accuracy of both graphs."""
    full = np.zeros((13, *targets.shape[1:]), targets.dtype)
    full[10:] = targets
    data = Dataset({"x": np.zeros((13, 1))}, full).select(np.arange(10, 13))
    with pytest.raises(DataError, match=said):
        check_targets(data, make_task("classification", HERE, np.arange(3)), [np.zeros((3, 10), np.float32)])


def test_several_positions_score_their_share_of_right_ones() -> None:
    """Catches padding that counts, and samples that count by their number of positions."""
    targets = np.array([[0, 2, 1], [1, -1, -100], [2, 2, 0]])
    said = np.array([[0, 2, 0], [1, 0, 0], [0, 0, 0]])
    task = make_task("classification", HERE, targets)
    for outputs in ([np.eye(4, dtype=np.float32)[said]], [np.moveaxis(np.eye(4)[said], 2, 1)], [said]):
        assert task.score(targets, outputs).tolist() == pytest.approx([2 / 3, 1, 1 / 3])
        assert task.predict(outputs).tolist() == said.tolist()


@pytest.mark.parametrize(
    ("targets", "said"),
    [
        ([[0, 1], [2, 4], [1, 1]], r"4 at index \[11, 1\]"),
        ([[0, 1], [-1, -100], [1, 1]], "no target that counts: index 11"),
        ([[0.0, 1.0]] * 3, "integers"),
    ],
)
def test_targets_by_position_name_the_sample(targets: list[list[float]], said: str) -> None:
    """Catches a class that no score is for, and a sample that is all padding and would be 0/0."""
    full = np.zeros((13, 2), np.array(targets).dtype)
    full[10:] = targets
    data = Dataset({"x": np.zeros((13, 1))}, full).select(np.arange(10, 13))
    task = make_task("classification", HERE, full)
    with pytest.raises(DataError, match=said):
        check_targets(data, task, [np.zeros((3, 2, 4), np.float32)])


@pytest.mark.parametrize(("asked", "position"), [(None, None), ("tags", 1), (1, 1), ("0", 0), ("lengths", 0)])
def test_the_output_that_is_named(asked: int | str | None, position: int | None) -> None:
    """Catches another output judged than the one that was asked for."""
    assert output_position(asked, ["lengths", "tags"]) == position


@pytest.mark.parametrize("asked", ["words", 2, "-1", ""])
def test_no_such_output(asked: int | str) -> None:
    """Catches the first output judged in place of one that is not there."""
    with pytest.raises(RequestError, match="lengths, tags"):
        output_position(asked, ["lengths", "tags"])


def test_constant_and_unfinite_targets_are_refused() -> None:
    """Catches a division by the variance of targets that are all the same, and NaN among them."""
    task = make_task("regression", HERE, np.ones(5))
    with pytest.raises(DataError, match="all the same"):
        task.score(np.ones(5), [np.ones(5)])
    with pytest.raises(DataError, match=r"y holds nan at index \[1\]"):
        check_targets(Dataset({"x": np.zeros((2, 1))}, np.array([1.0, np.nan])), task, [])
    with pytest.raises(DataError, match="predicts"):
        task.score(np.ones((5, 2)), [np.ones((5, 3))])


def test_users_own_metric(tmp_path: Path) -> None:
    """Catches a metric that gives one number for all, or NaN, and would make a table of nothing."""
    lines = ["import numpy as np", "def close(y, out): return -abs(y - out)", "def total(y, out): return 1.0",
             "def broken(y, out): return y * np.nan"]  # fmt: skip
    (tmp_path / "own_metric.py").write_text("\n".join(lines))
    targets, given = np.array([1.0, 2.0]), np.array([1.5, 2.0])
    assert make_task("own_metric:close", tmp_path, targets).score(targets, [given]).tolist() == [-0.5, 0]
    for name, said in (("total", "one score for each"), ("broken", "nan at index")):
        with pytest.raises(DataError, match=said):
            make_task(f"own_metric:{name}", tmp_path, targets).score(targets, [given])
    with pytest.raises(RequestError, match="no callable 'absent'"):
        make_task("own_metric:absent", tmp_path, targets)
