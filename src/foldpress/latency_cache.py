"""Latencies that were measured on this machine, kept from one run to the next."""

import hashlib
import json
import logging
import math
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from foldpress.benchmark.plan import LatencyPlan
from foldpress.errors import OutputError
from foldpress.files import write_json
from foldpress.machine import processor, version

_logger = logging.getLogger(__name__)

Entry = Mapping[str, float]


class LatencyCache:
    """Numbers by the signature of what was measured, in one file for each machine and way to run.

    A file that is damaged, or that cannot be written, only costs time: what is missing is measured anew.

    Args:
        plan: provider, batch size and threads.
        folder: where the files lie.
    """

    def __init__(self, plan: LatencyPlan, folder: Path | None = None) -> None:
        self._facts = {
            "processor": processor().get("brand_raw", "unknown"), "flags": sorted(processor().get("flags", [])),
            "onnxruntime": version("onnxruntime") or version("onnxruntime-gpu"),
            "provider": plan.provider, "threads": plan.threads, "batch": plan.batch,
            "options": dict(plan.provider_options),
        }  # fmt: skip
        name = hashlib.sha256(json.dumps(self._facts).encode()).hexdigest()[:16]
        self.path = (folder or cache_folder()) / "latency" / f"{name}.json"

    def read(self, signature: str) -> dict[str, float]:
        """What was kept under a signature; nothing, where there is nothing, or nothing that can be read."""
        return self._all().get(signature, {})

    def keep(self, entries: Mapping[str, Entry]) -> None:
        """Add to what was kept."""
        merged = self._all() | {signature: dict(entry) for signature, entry in entries.items()}
        try:
            write_json(self.path, {"machine": self._facts, "entries": merged})
        except OutputError as error:
            _logger.warning("latencies are not kept, and will be measured again: %s", error.problem)

    def _all(self) -> dict[str, dict[str, float]]:
        try:
            found = json.loads(self.path.read_text(encoding="utf-8"))["entries"]
            return {str(signature): _checked(entry) for signature, entry in found.items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            _logger.warning("%s is damaged (%s); latencies are measured anew", self.path, error)
            return {}


def cache_folder() -> Path:
    """Where this system keeps what can be made again; FOLDPRESS_CACHE names another place."""
    if asked := os.environ.get("FOLDPRESS_CACHE"):
        return Path(asked)
    if sys.platform == "darwin":
        return Path.home() / "Library/Caches/foldpress"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData/Local")) / "foldpress" / "Cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "foldpress"


def _checked(entry: Any) -> dict[str, float]:
    numbers = {str(name): float(number) for name, number in entry.items()}
    if not all(math.isfinite(number) and number > 0 for number in numbers.values()):
        raise ValueError("a time that is no positive number")
    return numbers
