"""What is not the request's fault: a run that was killed, interrupted, or broke. None of it looks like a verdict."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn

import onnx_ir as ir
import pytest

from conftest import Invoke
from foldpress.console import command
from wrong_requests import Here, files


def test_a_killed_run_never_passes(here: Here, invoke: Invoke) -> None:
    """Catches evidence of half a run that is judged as if it were whole."""
    with _slow_run(here) as process:
        os.killpg(process.pid, signal.SIGKILL)
    assert not (here.folder / "out/manifest.json").exists()
    result = invoke("gate", here.folder / "out", "--json")
    assert result.exit_code == 3
    assert "did not finish" in json.loads(result.stdout)["checks"][0]["why"]


def test_an_interrupted_run_leaves_no_half_file(here: Here) -> None:
    """Catches Ctrl-C that exits with 0, shows a traceback, or leaves what looks like a result."""
    with _slow_run(here) as process:
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "interrupted" in said
    assert "Traceback" not in said
    left = files(here.folder / "out")
    assert "manifest.json" not in left
    assert not [name for name in left if name.startswith(".")]


def test_an_interrupted_write_keeps_the_old_file(here: Here, invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches an output that is written in place: Ctrl-C in the middle would destroy what was there."""

    def half(_: ir.Model, path: Path, **__: object) -> NoReturn:
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    output = here.folder / "out.onnx"
    output.write_bytes(b"the old one")
    before = files(here.folder)
    monkeypatch.setattr(ir, "save", half)
    result = invoke("quantize", here.net, "-o", output, "-d", here.data, "--precision", "static")
    assert result.exit_code == 130
    assert output.read_bytes() == b"the old one"
    assert files(here.folder) == before


@pytest.mark.parametrize("verbose", [False, True])
def test_a_broken_stage_exits_with_4(
    verbose: bool, here: Here, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a bug that looks like a verdict, and a traceback that is shown unasked or lost."""

    def broken(*_: object) -> NoReturn:
        raise ValueError("the stage is broken")

    monkeypatch.setattr("foldpress.pipeline.measure", broken)
    result = invoke(*here.run(), *(["-v"] if verbose else []))
    assert result.exit_code == 4
    assert "foldpress: foldpress broke: ValueError: the stage is broken" in result.stderr
    assert ("Traceback" in result.stderr) == verbose
    log = (here.folder / "out/run.log").read_text(encoding="utf-8")
    assert "Traceback" in log
    assert "ValueError: the stage is broken" in log
    assert not (here.folder / "out/manifest.json").exists()


def test_termination_is_an_interruption() -> None:
    """Catches a build system's SIGTERM that ends the process without cleaning up, or with exit code 0."""

    def terminated() -> None:
        with command(as_json=False, quiet=True, verbose=False):
            os.kill(os.getpid(), signal.SIGTERM)

    assert _exit_code(terminated) == 130


def test_an_interruption_stays_one_when_a_library_makes_it_an_error() -> None:
    """Catches exit code 4 after Ctrl-C: it came while a library turned every exception into one of its own."""

    def translated() -> None:
        with command(as_json=False, quiet=True, verbose=False):
            try:
                os.kill(os.getpid(), signal.SIGINT)
            except KeyboardInterrupt as stopped:
                raise RuntimeError("the library's own error") from stopped

    assert _exit_code(translated) == 130


def _exit_code(run: Callable[[], None]) -> object:
    before = {kind: signal.getsignal(kind) for kind in (signal.SIGTERM, signal.SIGINT)}
    try:
        with pytest.raises(SystemExit) as ended:
            run()
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
    return ended.value.code


@contextmanager
def _slow_run(here: Here) -> Iterator["subprocess.Popen[str]"]:
    """A run in a process of its own, held in its last stage. Afterwards it is killed, with its children."""
    arguments = [str(argument) for argument in here.run(benchmark={"seconds": 100})]
    process = subprocess.Popen([sys.executable, "-m", "foldpress", *arguments], start_new_session=True,
                               stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)  # fmt: skip
    deadline = time.monotonic() + 30
    try:
        while not (here.folder / "out/evidence/test.npz").is_file():
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
