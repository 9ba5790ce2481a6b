"""What the command line shows: progress and messages on stderr, results on stdout, and exit codes for what went wrong."""

import json
import logging
import os
import signal
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, NoReturn

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from foldpress.errors import FoldpressError
from foldpress.progress import Listener, listening

_BROKE, _INTERRUPTED = 4, 130
_PIPE_COLUMNS = 160
_STYLES = {"PASS": "bold green", "FAIL": "bold red", "INCONCLUSIVE": "bold yellow"}


class _Bars:
    """Progress bars with the time left, for a terminal."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: list[TaskID] = []

    def begin(self, label: str, total: int) -> None:
        self._tasks.append(self._progress.add_task(label, total=total))

    def advance(self) -> None:
        self._progress.advance(self._tasks[-1])

    def end(self) -> None:
        self._progress.remove_task(self._tasks.pop())


@dataclass
class _Lines:
    """One plain line for each piece of work, where stderr is no terminal."""

    _open: list[tuple[str, float]] = field(default_factory=list)

    def begin(self, label: str, _total: int) -> None:
        self._open.append((label, time.perf_counter()))

    def advance(self) -> None:
        """A line for each step would drown a build log."""

    def end(self) -> None:
        label, start = self._open.pop()
        if not self._open:  # what happens inside another piece of work is told by that one
            print(f"{label}: {time.perf_counter() - start:.1f} s", file=sys.stderr)  # noqa: T201


@dataclass
class Output:
    """Where a command puts its result: a JSON document, or text for a person."""

    as_json: bool
    console: Console = field(default_factory=lambda: Console(highlight=False, width=_width()))

    def show(self, document: Any, *renderables: Any) -> None:
        """Print the document with `--json`, else everything that renders it for a person."""
        if self.as_json:
            print(json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False))  # noqa: T201
            return
        for renderable in renderables:
            self.console.print(renderable)


@contextmanager
def command(*, as_json: bool, quiet: bool, verbose: bool) -> Iterator[Output]:
    """Everything around a command: logging, progress, and errors told in one place with the right exit code."""
    interruption = _Interruption()
    signal.signal(signal.SIGTERM, interruption)
    signal.signal(signal.SIGINT, interruption)
    try:
        with _logging(verbose=verbose), _progress(quiet=quiet):
            yield Output(as_json)
    except (Exception, KeyboardInterrupt) as error:
        if isinstance(error, KeyboardInterrupt) or interruption.asked:
            _fail("interrupted; nothing half written is left", _INTERRUPTED, as_json=as_json, trace=False)
        if isinstance(error, FoldpressError):
            _fail(str(error), error.exit_code, as_json=as_json, trace=verbose and error.exit_code == _BROKE)
        hint = "" if verbose else "\n(the traceback: -v)"
        _fail(f"foldpress broke: {type(error).__name__}: {error}{hint}", _BROKE, as_json=as_json, trace=verbose)


def _width() -> int | None:
    """A pipe has no width: there, tables are as wide as they are meant to be. COLUMNS still counts."""
    return None if sys.stdout.isatty() or "COLUMNS" in os.environ else _PIPE_COLUMNS


def verdict_line(verdict: str, detail: str) -> str:
    """The verdict, unmistakable, and what it rests on."""
    return f"[{_STYLES[verdict]}]{verdict}[/]  {escape(detail)}"


def checks_table(checks: list[Mapping[str, Any]]) -> Table:
    """One line for each check, with its reason."""
    table = Table("check", "verdict", "why", box=None, pad_edge=False, header_style="bold")
    for check in checks:
        table.add_row(check["name"], f"[{_STYLES[check['verdict']]}]{check['verdict']}[/]", escape(check["why"]))
    return table


def plain_table(header: list[str], rows: list[list[str]]) -> Table:
    """A table whose first column is text and whose others are figures."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for position, name in enumerate(header):
        table.add_column(name, justify="right" if position else "left", overflow="fold", no_wrap=not position)
    for row in rows:
        table.add_row(*row)
    return table


@contextmanager
def _logging(*, verbose: bool) -> Iterator[None]:
    """Warnings on stderr, everything with `-v`. The handler filters, not the logger: run.log always takes everything."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setLevel(logging.DEBUG if verbose else logging.WARNING)
    logger = logging.getLogger("foldpress")
    level, propagates = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagates


@contextmanager
def _progress(*, quiet: bool) -> Iterator[None]:
    if quiet:
        yield
        return
    if not sys.stderr.isatty():
        with listening(_Lines()):
            yield
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        listener: Listener = _Bars(progress)
        with listening(listener):
            yield


def _fail(message: str, code: int, *, as_json: bool, trace: bool) -> NoReturn:
    if trace:
        traceback.print_exc()
    print(f"foldpress: {message}", file=sys.stderr)  # noqa: T201
    if as_json:
        print(json.dumps({"error": message, "exit_code": code}, ensure_ascii=False))  # noqa: T201
    sys.exit(code)


class _Interruption:
    """Raises what Ctrl-C raises, and remembers it: a library may turn the exception into one of its own."""

    def __init__(self) -> None:
        self.asked = False

    def __call__(self, _signal: int, _frame: FrameType | None) -> NoReturn:
        self.asked = True
        raise KeyboardInterrupt
