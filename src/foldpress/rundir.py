"""The folder that a run leaves: its log, what is already done in it, and the manifest that says it is whole."""

import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from foldpress.errors import RequestError
from foldpress.files import sha256, writable_folder, write_json

MANIFEST, JOURNAL, LOG = "manifest.json", "journal.json", "run.log"
_NOT_LISTED = {MANIFEST, LOG, JOURNAL}  # the log is still being written when the manifest is

_logger = logging.getLogger(__name__)


class RunDir:
    """The output folder of a run. A run that did not finish has no manifest.

    Args:
        folder: made if need be.
        key: digest of everything that the stages depend on; products made under another key are never reused.
        resume: whether products of an earlier, unfinished or finished, run under the same key are taken over.

    Raises:
        OutputError: the folder cannot be written to.
    """

    def __init__(self, folder: Path, key: str, *, resume: bool) -> None:
        self.folder = writable_folder(folder)
        (folder / MANIFEST).unlink(missing_ok=True)
        writable_folder(folder / "evidence")
        self.timing: dict[str, float] = {}
        self._key, self.resume = key, resume
        self._done: dict[str, Any] = self._journal() if resume else {}

    def __truediv__(self, name: str) -> Path:
        return self.folder / name

    @contextmanager
    def logging(self) -> Iterator[None]:
        """Write everything that foldpress logs, tracebacks included, to run.log."""
        handler = logging.FileHandler(self.folder / LOG, mode="w", encoding="utf-8")
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        logger = logging.getLogger("foldpress")
        level = logger.level
        logger.addHandler(handler)
        logger.setLevel(logging.DEBUG)
        try:
            yield
        except BaseException:
            _logger.debug("the run ended early", exc_info=True)
            raise
        finally:
            logger.removeHandler(handler)
            logger.setLevel(level)
            handler.close()

    def stage(self, name: str, products: list[str], make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Make files and return what `make` says of them, or what it said when it made them before.

        `products` are patterns: how many files hold a graph depends on its size.
        """
        start = time.perf_counter()
        done = self._done.get(name)
        if done is not None and self._unchanged(done["files"]):
            _logger.info("%s: taken over from the earlier run", name)
            notes: dict[str, Any] = done["notes"]
        else:
            notes = make()
            made = sorted(found for pattern in products for found in self.folder.glob(pattern))
            files = {path.relative_to(self.folder).as_posix(): sha256(path) for path in made}
            self._done[name] = {"files": files, "notes": notes}
            write_json(self / JOURNAL, {"key": self._key, "stages": self._done})
        self.timing[f"{name}_s"] = round(time.perf_counter() - start, 3)
        _logger.info("%s: %.1f s", name, self.timing[f"{name}_s"])
        return notes

    def finish(self, facts: dict[str, Any]) -> None:
        """Write the manifest: every file's digest and size, and what the run was made from."""
        write_manifest(self.folder, facts)

    def _journal(self) -> dict[str, Any]:
        try:
            journal = json.loads((self / JOURNAL).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        known = isinstance(journal, dict) and journal.get("key") == self._key
        return dict(journal["stages"]) if known else {}

    def _unchanged(self, files: dict[str, str]) -> bool:
        return all((self / name).is_file() and sha256(self / name) == digest for name, digest in files.items())


def write_manifest(folder: Path, facts: dict[str, Any]) -> None:
    """List every file of a finished run with its digest and size."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name not in _NOT_LISTED)
    listed = {
        path.relative_to(folder).as_posix(): {"sha256": sha256(path), "bytes": path.stat().st_size} for path in files
    }
    write_json(folder / MANIFEST, facts | {"files": listed})


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest of a finished run, or None where the run did not finish.

    Raises:
        RequestError: there is no such run, or its manifest is damaged.
    """
    if not (folder / "evidence").is_dir():
        raise RequestError(f"there is no run in {folder}", mend="foldpress run RECIPE -o DIR")
    if not (folder / MANIFEST).is_file():
        return None
    try:
        return dict(json.loads((folder / MANIFEST).read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise RequestError(f"{folder / MANIFEST} is damaged: {error}", mend="run the recipe again") from error
