"""The reports that a run leaves: JSON for machines, Markdown for a pull request, HTML for people, JUnit for CI."""

from pathlib import Path
from typing import Any

from foldpress.benchmark.evidence import Evidence
from foldpress.benchmark.html import render_html
from foldpress.benchmark.junit import render_junit
from foldpress.benchmark.markdown import render_markdown
from foldpress.files import write_json, write_text


def write_reports(folder: Path, report: dict[str, Any], evidence: Evidence) -> None:
    """Draw every report of a run into `folder`.

    Args:
        folder: the run's folder.
        report: the content of report.json.
        evidence: what was measured, for the pictures.

    Raises:
        OutputError: the folder cannot be written to.
    """
    # All are drawn before the first is written: a report that cannot be drawn leaves the old ones together.
    page, summary, results = render_html(report, evidence), render_markdown(report), render_junit(report)
    write_json(folder / "report.json", report)
    write_text(folder / "report.html", page)
    write_text(folder / "report.md", summary)
    write_text(folder / "junit.xml", results)
