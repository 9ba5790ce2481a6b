"""`module:callable`: found beside the recipe, two recipes kept apart, the user's own mistakes shown as they are."""

import sys
from pathlib import Path

import pytest

from foldpress.callables import load_callable, user_code
from foldpress.errors import DataError, ModelError, RequestError


def write(folder: Path, name: str, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text)
    return folder


def test_two_recipes_may_each_have_a_module_of_the_same_name(tmp_path: Path) -> None:
    """Catches the first recipe's model.py serving the second, and modules left behind in sys.modules."""
    one = write(tmp_path / "one", "own_model.py", "import own_part\ndef build(): return own_part.NAME")
    two = write(tmp_path / "two", "own_model.py", "import own_part\ndef build(): return own_part.NAME")
    write(one, "own_part.py", "NAME = 'one'")
    write(two, "own_part.py", "NAME = 'two'")
    first, second = load_callable("own_model:build", one), load_callable("own_model:build", two)
    before = list(sys.path)
    assert (first(), second(), first()) == ("one", "two", "one")
    assert sys.path == before
    assert "own_model" not in sys.modules


def test_state_of_a_module_is_kept(tmp_path: Path) -> None:
    """Catches a module imported anew for each call: its classes would no longer be the same."""
    text = "SEEN = []\ndef build():\n    import own_state\n    own_state.SEEN.append(1)\n    return len(SEEN)"
    build = load_callable("own_state:build", write(tmp_path, "own_state.py", text))
    assert (build(), build(), load_callable("own_state:build", tmp_path)()) == (1, 2, 3)


def test_an_installed_module_of_the_same_name_comes_back(tmp_path: Path) -> None:
    """Catches a user's `json.py` that replaces Python's own for the rest of the process."""
    import json

    load_callable("json:build", write(tmp_path, "json.py", "def build(): return 1"))
    assert sys.modules["json"] is json


@pytest.mark.parametrize(
    ("spec", "said"),
    [("own_a", "not of the form"), (":build", "not of the form"), ("own_a:", "not of the form"), ("absent:build", "available: own_a"),
     ("own_a:absent", "available: build"), ("own_a:CONSTANT", "no callable")],
)  # fmt: skip
def test_what_cannot_be_found_says_what_is_there(tmp_path: Path, spec: str, said: str) -> None:
    """Catches an AttributeError or ModuleNotFoundError shown as a broken job."""
    write(tmp_path, "own_a.py", "CONSTANT = 1\ndef build(): pass\ndef _private(): pass")
    with pytest.raises(RequestError, match=said):
        load_callable(spec, tmp_path)


@pytest.mark.parametrize(
    "text", ["import no_such_module\ndef build(): pass", "1 / 0", "def build(:", "raise KeyError('gone')"]
)
def test_a_module_that_raises_shows_the_users_traceback(tmp_path: Path, text: str) -> None:
    """Catches a missing import inside the user's module told as a missing module."""
    write(tmp_path, "own_broken.py", text)
    with pytest.raises(ModelError, match=r"own_broken\.py"):
        load_callable("own_broken:build", tmp_path)


def test_a_callable_that_raises_shows_the_users_frames_only(tmp_path: Path) -> None:
    """Catches foldpress's own frames around the user's, and errors that foldpress raised wrapped once more."""
    write(tmp_path, "own_b.py", "def build():\n    return {}['gone']")
    with pytest.raises(ModelError, match=r"(?s)own_b:build raised KeyError: 'gone'.*own_b\.py.*line 2") as caught:
        load_callable("own_b:build", tmp_path)()
    assert "callables.py" not in str(caught.value)
    with pytest.raises(DataError, match="^no sample$"), user_code("anything"):
        raise DataError("no sample")
