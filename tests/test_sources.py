"""Reading data: every form that a recipe may name, and nothing that would have to be unpickled."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foldpress.data import Dataset
from foldpress.errors import DataError, ModelError
from foldpress.sources import as_dataset, read_data

X = np.arange(12, dtype=np.float32).reshape(4, 3)
Y = np.array([0, 1, 1, 0])


class Items:
    """As a torch Dataset is: a length and items by index."""

    def __init__(self, items: list[Any]) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        return self.items[index]


def same(data: Dataset, name: str = "x") -> bool:
    return list(data.inputs) == [name] and np.array_equal(data.inputs[name], X) and np.array_equal(data.y, Y)


@pytest.mark.parametrize(
    "value",
    [Dataset({"x": X}, Y), (X, Y), ({"x": X}, Y), {"x": X, "y": Y}, (X.tolist(), Y.tolist()), Items(list(zip(X, Y, strict=True))),
     Items([{"x": x, "y": y} for x, y in zip(X, Y, strict=True)])],
)  # fmt: skip
def test_every_form_of_data(value: Any) -> None:
    """Catches a form of the contract that is not understood."""
    data = as_dataset(value)
    assert list(data.inputs) == ["x"]
    assert np.array_equal(data.inputs["x"], X)
    assert data.y.tolist() == Y.tolist()


def test_npz_and_folder(tmp_path: Path) -> None:
    """Catches a target taken for an input, and a folder that is read into memory."""
    np.savez(tmp_path / "d.npz", x=X, y=Y, group=np.array(list("aabb")))
    (tmp_path / "folder").mkdir()
    np.save(tmp_path / "folder/x.npy", X)
    np.save(tmp_path / "folder/y.npy", Y)
    data, mapped = read_data("d.npz", tmp_path), read_data("folder", tmp_path)
    assert same(data)
    assert data.group is not None
    assert data.group.tolist() == list("aabb")
    assert same(mapped)
    assert isinstance(mapped.inputs["x"], np.memmap)
    assert same(read_data(str(tmp_path / "d.npz"), Path("/")))


def test_callable_beside_the_recipe(tmp_path: Path) -> None:
    """Catches a module looked for in the working directory; the user's own mistake keeps its traceback."""
    (tmp_path / "own_data.py").write_text(
        "import numpy as np\ndef load(): return np.arange(12, dtype='f4').reshape(4, 3), [0, 1, 1, 0]\n"
        "def broken(): raise OSError('no disk')\ndef text(): return 'x'\n"
    )
    assert same(read_data("own_data:load", tmp_path))
    with pytest.raises(ModelError, match="no disk"):
        read_data("own_data:broken", tmp_path)
    with pytest.raises(DataError):
        read_data("own_data:text", tmp_path)


@pytest.mark.parametrize(
    "value", [None, 3, X, "x", (X, Y, Y), Items([]), Items([1, 2]), {"x": np.array([object()])}, {"x": ["a", "b"]}]
)
def test_what_is_no_data_set_is_refused(value: Any) -> None:
    """Catches an array taken for a list of samples, and objects taken for numbers."""
    with pytest.raises(DataError):
        as_dataset(value)


def test_pickles_are_never_opened(tmp_path: Path) -> None:
    """Catches a stranger's file that runs code when it is read."""
    marker = tmp_path / "ran"

    class Evil:
        def __reduce__(self) -> Any:
            return marker.touch, ()

    objects = np.array([Evil()], object)
    np.savez(tmp_path / "evil.npz", x=objects)
    (tmp_path / "folder").mkdir()
    np.save(tmp_path / "folder/x.npy", objects)
    objects.dump(tmp_path / "renamed.npz")
    for source in ("evil.npz", "folder", "renamed.npz"):
        with pytest.raises(DataError):
            read_data(source, tmp_path)
    assert not marker.exists()


def test_truncated_files_are_refused(tmp_path: Path) -> None:
    """Catches a traceback of zip, zlib or NumPy where a copy was cut short or damaged."""
    np.savez_compressed(tmp_path / "whole.npz", x=np.random.default_rng(0).normal(size=(40, 3)))
    np.save(tmp_path / "whole.npy", X)
    (tmp_path / "folder").mkdir()
    for name, target in (("whole.npz", "cut.npz"), ("whole.npy", "folder/x.npy")):
        content = (tmp_path / name).read_bytes()
        for size in range(0, len(content), 11):
            (tmp_path / target).write_bytes(content[:size])
            with pytest.raises(DataError):
                read_data(target.removesuffix("/x.npy"), tmp_path)
    content = (tmp_path / "whole.npz").read_bytes()
    for place in range(0, len(content), 7):
        (tmp_path / "cut.npz").write_bytes(content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :])
        try:
            read_data("cut.npz", tmp_path)
        except DataError:
            continue


def test_missing_data_name_what_is_there(tmp_path: Path) -> None:
    """Catches a message that leaves one guessing; and an empty folder taken for a data set."""
    np.savez(tmp_path / "right.npz", x=X)
    with pytest.raises(DataError, match=r"right\.npz"):
        read_data("wrong.npz", tmp_path)
    np.save(tmp_path / "single.npy", X)
    (tmp_path / "single.npy").rename(tmp_path / "single.npz")
    with pytest.raises(DataError, match="a single array"):
        read_data("single.npz", tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no input"):
        read_data("empty", tmp_path)
