"""What else a report holds: figures that no section of the page is about are shown as they stand, not left out."""

from collections.abc import Mapping
from typing import Any

from foldpress.benchmark.changes import CHANGES
from foldpress.benchmark.html_tables import Table
from foldpress.benchmark.table import DASH, accuracy_blocks

_SHOWN = {"schema", "verdict", "artifact", "task", "confidence", "checks", "accuracy", "graphs", "latency", "timing",
          "environment", *CHANGES}  # fmt: skip
_SHOWN_OF_ACCURACY = {"metric", "classes"}


def more_tables(report: Mapping[str, Any]) -> list[tuple[str, Table]]:
    """A title and a table for each part of the report, and of its accuracy, that stands nowhere else on the page."""
    accuracy = report.get("accuracy") or {}
    known = _SHOWN_OF_ACCURACY | {key for key, _ in accuracy_blocks(report)}
    parts = {key: part for key, part in report.items() if key not in _SHOWN}
    parts |= {f"accuracy: {key}": part for key, part in accuracy.items() if key not in known}
    return [(title.replace("_", " "), _table(part)) for title, part in parts.items() if _rows(part)]


def _rows(part: Any) -> list[Mapping[str, Any]]:
    """A list of mappings, or one mapping alone; anything else, such as the reason of a null, makes no table."""
    rows = [part] if isinstance(part, Mapping) else part if isinstance(part, list) else []
    return [row for row in rows if isinstance(row, Mapping) and row]


def _table(part: Any) -> Table:
    rows = _rows(part)
    keys = list(dict.fromkeys(key for row in rows for key in row if not str(key).endswith("_why")))
    table = Table([str(key).replace("_", " ") for key in keys])
    table.rows = [[table.cell(row, key, _text) for key in keys] for row in rows]
    return table


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_text(inner)}" for key, inner in value.items()) or DASH
    if isinstance(value, list):
        return ", ".join(map(_text, value)) or DASH
    return f"{value:.4g}" if isinstance(value, float) else str(value)
