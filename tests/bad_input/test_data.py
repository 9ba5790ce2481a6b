"""Whatever is wrong with samples: one message that says where and how to mend it, and nothing written."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from conftest import Invoke
from wrong_requests import NAN, Here, Prepare, Row, Trap, check_refused


def test_the_trap_springs(tmp_path: Path) -> None:
    """Catches a trap that would catch nothing."""
    pickle.loads(pickle.dumps(Trap(tmp_path / "sprung")))
    assert (tmp_path / "sprung").exists()


def _pickle_for_data(here: Here) -> list[object]:
    arguments = here.run_on()
    (here.folder / "wrong.npz").write_bytes(pickle.dumps(Trap(here.folder / "sprung")))
    return arguments


def _object_array(here: Here) -> list[object]:
    return here.run_on(note=np.array([Trap(here.folder / "sprung")], dtype=object))


def _object_array_in_a_folder(here: Here) -> list[object]:
    (here.folder / "arrays").mkdir()
    np.save(here.folder / "arrays/x.npy", np.array([Trap(here.folder / "sprung")], dtype=object))
    return here.run(data={"source": "arrays"})


def _too_few_of_a_class(here: Here) -> list[object]:
    kept = np.flatnonzero((here.arrays["y"] != 7) | (np.cumsum(here.arrays["y"] == 7) <= 2))
    return here.run_on(**{name: array[kept] for name, array in here.arrays.items()})


def _label_too_large(row: int) -> Prepare:
    return lambda h: [*h.run_on(y=h.at((row,), 10, "y")), "--set", "folds.scheme=kfold"]


def _in_train_and_data(here: Here) -> list[object]:
    arguments = here.run(data={"train": "seen.npz"})
    np.savez(here.folder / "seen.npz", x=here.arrays["x"][[5, 900]], y=here.arrays["y"][[5, 900]])
    return arguments


def _in_fold_and_test(here: Here) -> list[object]:
    again = {name: np.concatenate([array, array[:20]]) for name, array in here.arrays.items()}
    return here.run_on(**again)


ROWS: list[Row] = [
    ("missing data", lambda h: h.run(data={"source": "absent.npz"}), ("absent.npz", "data.npz", "module:callable")),
    ("data no npz", lambda h: h.run(data={"source": "net.onnx"}), ("net.onnx", "np.savez")),
    ("data a pickle", _pickle_for_data, ("wrong.npz is not an .npz", "np.savez")),
    ("object array", _object_array, ("wrong.npz", "array note", "never unpickled", "np.stack")),
    ("object array in a folder", _object_array_in_a_folder, ("x.npy", "array x", "never unpickled", "np.stack")),
    ("no targets", lambda h: h.run_on(y=None), ("no targets", "`y`")),
    ("NaN", lambda h: h.run_on(x=h.at((17, 5), NAN)), ("array x holds nan at index [17, 5]", "repair that sample")),
    ("infinity", lambda h: h.run_on(x=h.at((1050, 63), np.inf)), ("array x holds inf at index [1050, 63]",)),
    ("infinity, one command", lambda h: ["quantize", h.net, "-o", h.folder / "out.onnx",
                                         "--data", h.save(x=h.at((2, 0), -np.inf))],
     ("array x holds -inf at index [2, 0]",)),
    ("unequal lengths", lambda h: h.run_on(y=h.arrays["y"][:-1]), ("unequal length", "x: 1100", "y: 1099")),
    ("wrong name", lambda h: h.run_on(mask=h.arrays["x"]), ("['mask']", "x: float32 [N, 64]")),
    ("wrong names", lambda h: h.run_on(x=None, a=h.arrays["x"], b=h.arrays["x"]), ("missing: ['x']", "['a', 'b']")),
    ("wrong shape", lambda h: h.run_on(x=h.arrays["x"][:, :63]), ("array x", "[1100, 63]", "x: float32 [N, 64]")),
    ("wrong type", lambda h: h.run_on(x=h.arrays["x"].astype(float)), ("array x is float64", ".astype('float32')")),
    ("text", lambda h: h.run_on(x=h.arrays["x"].astype(str)), ("array x", "numbers are expected")),
    ("label too large", _label_too_large(3), ("10 at index 3", "0 … 9")),
    ("label too large, in the test split", _label_too_large(1), ("10 at index 1", "0 … 9")),
    ("label negative", lambda h: h.run_on(y=h.at((8,), -1, "y")), ("-1 at index 8", "0 … 9")),
    ("label a fraction", lambda h: h.run_on(y=h.arrays["y"] + 0.5), ("y is float64", "integers", '"regression"')),
    ("fewer samples than folds", lambda h: h.run_on(**{k: v[:2] for k, v in h.arrays.items()}),
     ("2 samples", "3 folds", "splits")),
    ("a class too rare", _too_few_of_a_class, ("7 (2)", "3 folds", "scheme = 'kfold'")),
    ("in train and data", _in_train_and_data,
     ("2 samples", "train sample 0 = data sample 5", "train sample 1 = data sample 900")),
    ("in a fold and in test", _in_fold_and_test, ("two sides of a split", "test sample", "remove the duplicates")),
]  # fmt: skip


@pytest.mark.parametrize(("prepare", "words"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_wrong_data_is_refused(prepare: Prepare, words: tuple[str, ...], here: Here, invoke: Invoke) -> None:
    """Catches a message that does not say which sample, a file left behind, code run from a stranger's file."""
    check_refused(prepare, words, here, invoke)


def test_too_few_samples_are_inconclusive(here: Here, invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a gate that takes the absence of a difference among a few samples for a proof."""
    monkeypatch.setattr("foldpress.pipeline.measure", lambda *_: [])
    few = {name: array[:120] for name, array in here.arrays.items()}
    result = invoke(*here.run_on(**few), "--set", "gate.max_drop=0.001", "--json")
    assert result.exit_code == 3
    report = json.loads(result.stdout)
    assert report["verdict"] == "INCONCLUSIVE"
    assert "samples would settle it" in report["checks"][0]["why"]
    assert (here.folder / "out/manifest.json").is_file()
