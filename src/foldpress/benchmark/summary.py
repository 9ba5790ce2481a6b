"""The verdict on the page of a build: GitHub shows what a step appends to the file that GITHUB_STEP_SUMMARY names."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from foldpress.benchmark.markdown import render_markdown
from foldpress.errors import OutputError


def append_summary(report: Mapping[str, Any]) -> None:
    """Append the report as Markdown, where a build asks for it.

    Raises:
        OutputError: the file cannot be written to.
    """
    named = os.environ.get("GITHUB_STEP_SUMMARY")
    if not named:
        return
    try:
        with Path(named).open("a", encoding="utf-8") as stream:
            stream.write(render_markdown(report))
    except OSError as error:
        raise OutputError(f"cannot write the summary to {named}: {error}", mend="unset GITHUB_STEP_SUMMARY") from error
