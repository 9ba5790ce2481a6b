"""Progress: heard by whoever listens, and no burden to whoever does not."""

import pytest

from foldpress.progress import listening, track


class Ear:
    """Writes down what it hears."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def begin(self, label: str, total: int) -> None:
        self.heard.append(f"{label} {total}")

    def advance(self) -> None:
        self.heard.append("+")

    def end(self) -> None:
        self.heard.append("end")


def test_without_a_listener_nothing_is_needed() -> None:
    """Catches a library call that needs a terminal."""
    assert list(track("abc", "work", 3)) == ["a", "b", "c"]


def test_every_step_is_heard_once() -> None:
    """Catches a bar that never fills, or work that is reported twice."""
    ear = Ear()
    with listening(ear):
        assert list(track("abc", "work", 3)) == ["a", "b", "c"]
    assert ear.heard == ["work 3", "+", "+", "+", "end"]
    assert list(track("a", "later", 1)) == ["a"]
    assert len(ear.heard) == 5


def test_work_that_breaks_is_ended() -> None:
    """Catches a bar left standing behind an error message."""
    ear = Ear()
    with listening(ear), pytest.raises(ZeroDivisionError):
        [1 // 0 for _ in track("abc", "work", 3)]
    assert ear.heard[-1] == "end"


def test_work_within_work() -> None:
    """Catches steps of the inner piece counted for the outer one."""
    ear = Ear()
    with listening(ear):
        for _ in track("a", "outer", 1):
            list(track("b", "inner", 1))
    assert ear.heard == ["outer 1", "inner 1", "+", "end", "+", "end"]
