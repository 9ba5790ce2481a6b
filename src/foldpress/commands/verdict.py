"""What a verdict does outside: a summary for the build server, and the exit code."""

from typing import Any


def summarize(document: dict[str, Any]) -> None:
    """Append a summary to the file that the build server shows, if there is one."""
    from foldpress.benchmark.summary import append_summary

    append_summary(document)


def exit_code(verdict: str) -> int:
    """The exit code of a verdict."""
    from foldpress.benchmark.checks import EXIT_CODES

    return EXIT_CODES[verdict]
