"""Fresh processes for whatever must not share one: what one graph leaves in memory would be felt by the next."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from foldpress.errors import FoldpressError

_TIMEOUT_SECONDS = 600


def work(module: str, request: Mapping[str, Any], folder: Path, variables: Mapping[str, str] | None = None) -> Any:
    """Let `python -m MODULE REQUEST.json ANSWER.json` carry out a request, and read its answer.

    Args:
        module: its main program reads the one file and writes the other.
        request: what to do; plain JSON values.
        folder: for the two files.
        variables: of the environment, added to this process's own.

    Raises:
        FoldpressError: the process failed or took too long.
    """
    asked, answer = folder / "request.json", folder / "answer.json"
    asked.write_text(json.dumps(request), encoding="utf-8")
    command = [sys.executable, "-P", "-m", module, str(asked), str(answer)]
    search = os.pathsep.join(filter(None, sys.path))
    environment = {**os.environ, **(variables or {}), "ORT_DISABLE_TELEMETRY": "1", "PYTHONPATH": search}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, env=environment, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise FoldpressError(
            f"{module} took longer than {_TIMEOUT_SECONDS} s", mend="fewer graphs, or a smaller batch"
        ) from error
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise FoldpressError(f"the timing process ended with {done.returncode}: {last}")
    return json.loads(answer.read_text(encoding="utf-8"))
