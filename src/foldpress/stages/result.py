"""What a stage on files needs and gives: a file that can be written, and what was written."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from foldpress.benchmark.changes import CHANGES
from foldpress.benchmark.report import describe_graph
from foldpress.errors import RequestError
from foldpress.files import writable_folder


@dataclass(frozen=True)
class StageResult:
    """What `export`, `prune` and `quantize` give: the file, what it costs, and the log of what was done to it."""

    output: Path
    bytes: int
    macs: int | None
    parameters: int
    seconds: float
    log: list[dict[str, str]] = field(default_factory=list)
    pruning: dict[str, Any] | None = None  # as in report.json, of `prune` alone
    factorization: dict[str, Any] | None = None  # and of `factorize` alone

    def as_json(self) -> dict[str, Any]:
        """The result as `--json` prints it."""
        facts = {name: value for name, value in self.__dict__.items() if name not in CHANGES or value is not None}
        return {**facts, "output": str(self.output)}


def stage_result(output: Path, start: float, log: list[dict[str, str]]) -> StageResult:
    """The result of a stage that began at `start`, by `time.perf_counter`."""
    entry = describe_graph(output)
    return StageResult(output, entry["bytes"], entry["macs"], entry["parameters"], time.perf_counter() - start, log)


def output_file(output: Path | str) -> Path:
    """The file to write, its folder proven writable before any work is done.

    Raises:
        RequestError: it is a folder.
        OutputError: its folder cannot be written to.
    """
    path = Path(output)
    if path.is_dir():
        raise RequestError(f"{path} is a folder; name the .onnx file to write")
    writable_folder(path.parent)
    return path
