"""Fresh processes for whatever must not share one: what one graph leaves in memory would be felt by the next."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from foldpress.errors import FoldpressError, GraphError, ProviderError, RequestError

_TIMEOUT_SECONDS = 600
_REFUSALS: dict[str, type[RequestError]] = {one.__name__: one for one in (GraphError, ProviderError)}


def serve(carry_out: Callable[[dict[str, Any]], Any]) -> None:
    """The main program of such a process: read the request, carry it out, write the answer, or why it is refused."""
    asked, answer = map(Path, sys.argv[1:])
    try:
        found = {"answer": carry_out(json.loads(asked.read_text(encoding="utf-8")))}
    except RequestError as error:
        reason = {"problem": error.problem, "available": error.available, "mend": error.mend}
        found = {"refused": type(error).__name__, "reason": reason}
    answer.write_text(json.dumps(found), encoding="utf-8")


def work(module: str, request: Mapping[str, Any], folder: Path, variables: Mapping[str, str] | None = None) -> Any:
    """Let `python -m MODULE REQUEST.json ANSWER.json` carry out a request, and read its answer.

    Args:
        module: its main program is `serve`.
        request: what to do; plain JSON values.
        folder: for the two files.
        variables: of the environment, added to this process's own.

    Raises:
        RequestError: the process refused the request.
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
    found = json.loads(answer.read_text(encoding="utf-8"))
    if "refused" in found:
        reason = found["reason"]
        raise _REFUSALS.get(found["refused"], RequestError)(
            reason["problem"], available=reason["available"], mend=reason["mend"]
        )
    return found["answer"]
