"""Progress for whoever listens: the command line installs a listener, a library call has none."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol, TypeVar

Item = TypeVar("Item")


class Listener(Protocol):
    """What the command line does with progress."""

    def begin(self, label: str, total: int) -> None:
        """A piece of work of `total` steps begins."""

    def advance(self) -> None:
        """One step is done."""

    def end(self) -> None:
        """The piece of work is over, finished or not."""


_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Report all progress made inside to `listener`."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def track(items: Iterable[Item], label: str, total: int) -> Iterator[Item]:
    """Iterate, reporting each step; needs no listener to work."""
    listener = _listener.get()
    if listener is None:
        yield from items
        return
    listener.begin(label, total)
    try:
        for item in items:
            yield item
            listener.advance()
    finally:
        listener.end()
