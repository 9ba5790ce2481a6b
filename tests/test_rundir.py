"""The folder of a run: what is taken over, what is made anew, and that an unfinished run never looks finished."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from foldpress.errors import OutputError, RequestError
from foldpress.files import sha256
from foldpress.rundir import RunDir, read_manifest


def stage(here: RunDir, made: list[str], name: str = "export", content: str = "graph") -> Any:
    """Run a stage that leaves one file and remembers that it was made."""

    def make() -> dict[str, Any]:
        made.append(name)
        (here / f"{name}.txt").write_text(content)
        return {"said": content}

    return here.stage(name, [f"{name}.txt"], make)


def test_finished_stages_are_taken_over(tmp_path: Path) -> None:
    """Catches work done twice, and notes that are lost when it is not."""
    made: list[str] = []
    first = stage(RunDir(tmp_path, "key", resume=False), made)
    again = RunDir(tmp_path, "key", resume=True)
    assert stage(again, made) == first == {"said": "graph"}
    assert made == ["export"]
    assert "export_s" in again.timing


@pytest.mark.parametrize(
    "change", ["key", "no resume", "product changed", "product gone", "journal damaged", "journal foreign"]
)
def test_what_does_not_belong_to_this_run_is_made_anew(tmp_path: Path, change: str) -> None:
    """Catches a stale or foreign product taken for this run's: its evidence would be of another graph."""
    made: list[str] = []
    stage(RunDir(tmp_path, "key", resume=False), made)
    if change == "product changed":
        (tmp_path / "export.txt").write_text("other")
    elif change == "product gone":
        (tmp_path / "export.txt").unlink()
    elif change.startswith("journal"):
        (tmp_path / "journal.json").write_text("{" if change == "journal damaged" else "[]")
    stage(RunDir(tmp_path, "other" if change == "key" else "key", resume=change != "no resume"), made)
    assert made == ["export", "export"]


def test_a_stage_that_raises_is_not_recorded(tmp_path: Path) -> None:
    """Catches a broken stage that the next run would take for done."""
    made: list[str] = []

    def broken() -> dict[str, Any]:
        raise RuntimeError("no")

    here = RunDir(tmp_path, "key", resume=False)
    stage(here, made)
    with pytest.raises(RuntimeError):
        here.stage("press", [], broken)
    again = RunDir(tmp_path, "key", resume=True)
    stage(again, made)
    stage(again, made, "press")
    assert made == ["export", "press"]


def test_manifest_lists_every_file_and_comes_last(tmp_path: Path) -> None:
    """Catches a file that nobody vouches for, and the manifest of an earlier run that outlives it."""
    here = RunDir(tmp_path / "run", "key", resume=False)
    assert read_manifest(here.folder) is None
    stage(here, [])
    here.finish({"schema": 1})
    manifest = read_manifest(here.folder)
    assert manifest is not None
    assert manifest["files"]["export.txt"] == {"sha256": sha256(here / "export.txt"), "bytes": 5}
    assert manifest["schema"] == 1
    RunDir(tmp_path / "run", "key", resume=True)
    assert read_manifest(here.folder) is None


def test_manifests_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    """Catches a damaged manifest read as an empty one."""
    with pytest.raises(RequestError, match="there is no run"):
        read_manifest(tmp_path)
    here = RunDir(tmp_path, "key", resume=False)
    for content in ("{", "3", "null"):
        (here / "manifest.json").write_text(content)
        with pytest.raises(RequestError, match="damaged"):
            read_manifest(tmp_path)


def breaking(here: RunDir) -> None:
    with here.logging():
        logging.getLogger("foldpress.any").debug("a detail")
        raise KeyError("gone")


def test_everything_is_logged_tracebacks_too(tmp_path: Path) -> None:
    """Catches a run that broke and left no trace, and a handler that stays open."""
    here = RunDir(tmp_path, "key", resume=False)
    handlers = list(logging.getLogger("foldpress").handlers)
    with pytest.raises(KeyError):
        breaking(here)
    log = (tmp_path / "run.log").read_text()
    assert "a detail" in log
    assert "KeyError: 'gone'" in log
    assert logging.getLogger("foldpress").handlers == handlers


def test_a_place_that_cannot_be_written_to(tmp_path: Path) -> None:
    """Catches an hour of work whose results cannot be written."""
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        RunDir(tmp_path / "file", "key", resume=False)


def test_journal_is_json(tmp_path: Path) -> None:
    """Catches a journal that only this process could read again."""
    stage(RunDir(tmp_path, "key", resume=False), [])
    assert json.loads((tmp_path / "journal.json").read_text())["stages"]["export"]["notes"] == {"said": "graph"}
