"""Data sets: digests, selections that copy nothing, and checks that name the array and the index."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from foldpress.data import Dataset, InputSpec, check_disjoint, check_finite, fit_inputs
from foldpress.errors import DataError, LeakageError

FLOAT = np.dtype(np.float32)


def dataset(n: int = 6, **extra: NDArray[Any]) -> Dataset:
    """Two inputs of different types and shapes, all samples different."""
    inputs: dict[str, NDArray[Any]] = {
        "x": np.arange(n * 6, dtype=np.float32).reshape(n, 2, 3),
        "ids": np.arange(n, dtype=np.int64),
    }
    return Dataset(inputs | extra, np.arange(n), np.arange(n) // 2)


@given(st.sampled_from(["x", "ids"]), st.integers(0, 47), st.integers(1, 255))
def test_any_changed_byte_changes_that_samples_digest_only(name: str, byte: int, flip: int) -> None:
    """Catches an input left out of the digest, and values that are rounded before they are digested."""
    before = dataset()
    changed = {key: array.copy() for key, array in before.inputs.items()}
    raw = changed[name].reshape(-1).view(np.uint8)
    raw[byte % raw.size] ^= flip
    sample = (byte % raw.size) // (raw.size // 6)
    after = Dataset(changed, before.targets, before.groups)
    assert [
        i for i, (one, other) in enumerate(zip(before.digests(), after.digests(), strict=True)) if one != other
    ] == [sample]
    assert before.fingerprint() != after.fingerprint()


@given(st.permutations(range(6)))
def test_digests_belong_to_samples_not_to_places(order: list[int]) -> None:
    """Catches a digest that depends on a sample's neighbours or row: a reordered copy would look like new data."""
    chosen = np.array(order)
    assert dataset().select(chosen).digests() == [dataset().digests()[i] for i in order]
    assert (dataset().select(chosen).fingerprint() == dataset().fingerprint()) == (order == sorted(order))


def test_digests_tell_types_shapes_and_names_apart() -> None:
    """Catches the same bytes in another shape, type or input taken for the same sample."""
    flat = np.zeros((2, 4), np.float32)
    forms: list[dict[str, NDArray[Any]]] = [{"x": flat}, {"y_": flat}, {"x": flat.view(np.int32)}, {"x": flat.reshape(2, 2, 2)},
             {"x": flat[:, :2], "z": flat[:, 2:]}]  # fmt: skip
    assert len({Dataset(inputs).digests()[0] for inputs in forms}) == len(forms)


def test_fingerprint_sees_targets_and_groups() -> None:
    """Catches a run resumed although the labels were changed."""
    inputs, targets = {"x": np.zeros((4, 1))}, np.arange(4)
    forms = [
        Dataset(inputs),
        Dataset(inputs, targets),
        Dataset(inputs, targets[::-1]),
        Dataset(inputs, targets, targets),
    ]
    assert len({form.fingerprint() for form in forms}) == len(forms)


def test_memory_mapped_arrays_are_not_copied(tmp_path: Path) -> None:
    """Catches a selection that reads a data set larger than memory into memory."""
    np.save(tmp_path / "x.npy", np.arange(40, dtype=np.float32).reshape(10, 4))
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    part = Dataset({"x": mapped}).select(np.array([7, 2, 3])).select(np.array([2, 0])).renamed({"x": "z"})
    assert part.inputs["z"] is mapped
    assert part.rows.tolist() == [3, 7]
    batch = part.batch(slice(0, 2))["z"]
    assert batch.tolist() == [[12, 13, 14, 15], [28, 29, 30, 31]]
    assert not isinstance(batch, np.memmap) or batch.flags.owndata


def test_batches_cover_all_samples_in_order() -> None:
    """Catches a short last batch that is dropped: its samples would never be judged."""
    sizes = [len(batch["ids"]) for batch in dataset(7).batches(3)]
    assert sizes == [3, 3, 1]
    assert np.concatenate([batch["ids"] for batch in dataset(7).batches(3)]).tolist() == list(range(7))
    assert all(batch["x"].flags.c_contiguous for batch in dataset(7).batches(3))


def test_targets_and_groups_follow_the_selection() -> None:
    """Catches predictions scored against other samples' labels."""
    part = dataset().select(np.array([5, 0]))
    group = part.group
    assert group is not None
    assert (part.y.tolist(), group.tolist(), len(part)) == ([5, 0], [2, 0], 2)
    with pytest.raises(DataError, match="no targets"):
        _ = Dataset({"x": np.zeros((2, 1))}).y


@pytest.mark.parametrize("n", [3, 1024, 1025, 3000])
def test_first_wrong_value_is_named_exactly(n: int) -> None:
    """Catches an index that counts from the start of the piece that was read."""
    array = np.zeros((n, 2, 3), np.float32)
    array[n - 1, 1, 2] = np.inf
    with pytest.raises(DataError, match=rf"array x holds inf at index \[{n - 1}, 1, 2\]"):
        check_finite("x", array)
    array[n // 2, 0, 1] = np.nan
    with pytest.raises(DataError, match=rf"array x holds nan at index \[{n // 2}, 0, 1\]"):
        check_finite("x", array)
    check_finite("ids", np.zeros(n, np.int64))


@pytest.mark.parametrize(
    ("inputs", "said"),
    [({}, "no input"), ({"x": np.zeros(3), "z": np.zeros(4)}, "x: 3, z: 4"), ({"x": np.float32(3)}, "a scalar"),
     ({"x": np.zeros((0, 3))}, "no sample")],
)  # fmt: skip
def test_arrays_that_do_not_fit_together_are_refused(inputs: dict[str, Any], said: str) -> None:
    """Catches samples paired with the wrong ones where one array is longer."""
    with pytest.raises(DataError, match=said):
        Dataset(inputs)
    with pytest.raises(DataError, match="unequal"):
        Dataset({"x": np.zeros(3)}, np.zeros(2))


@pytest.mark.parametrize(
    ("inputs", "said"),
    [({"x": np.zeros((3, 4), np.float64)}, "float64.*wants x: float32"), ({"x": np.zeros((3, 5), FLOAT)}, r"\[3, 5\].*\[N, 4\]"),
     ({"x": np.zeros(3, FLOAT)}, r"\[3\]"), ({"x": np.full((3, 4), np.nan, FLOAT)}, r"index \[0, 0\]"),
     ({"a": np.zeros((3, 4), FLOAT), "b": np.zeros(3)}, "missing: .'x'.; not inputs: .'a', 'b'.")],
)  # fmt: skip
def test_data_that_do_not_fit_the_graph_are_refused(inputs: dict[str, Any], said: str) -> None:
    """Catches a message that does not say which array, what it is, and what is wanted."""
    with pytest.raises(DataError, match=said):
        fit_inputs(Dataset(inputs), [InputSpec("x", FLOAT, (None, 4))])


def test_one_array_may_have_any_name() -> None:
    """Catches a needless refusal; and a free axis taken for a fixed one."""
    fitted = fit_inputs(Dataset({"pixels": np.zeros((3, 9), FLOAT)}), [InputSpec("x", FLOAT, (None, None))])
    assert list(fitted.inputs) == ["x"]


def test_duplicates_across_parts_are_named() -> None:
    """Catches the same content under another row; the same sample twice in one part is no leak."""
    values = np.array([[1.0], [2.0], [1.0], [1.0]])
    data = Dataset({"x": values})
    with pytest.raises(LeakageError, match="1 samples.*train sample 0 = test sample 2"):
        check_disjoint({"train": data.select(np.array([0, 1])), "test": data.select(np.array([2]))})
    check_disjoint({"train": data.select(np.array([0, 2, 3])), "test": data.select(np.array([1]))})
    with pytest.raises(LeakageError, match="20 samples.*and 15 more"):
        check_disjoint({"train": data.select(np.array([0])), "test": data.select(np.full(20, 2))})
