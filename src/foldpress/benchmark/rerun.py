"""How to run it again: the command, the recipe as it was run, the versions, and what it was made from."""

import json
from collections.abc import Mapping
from typing import Any

from foldpress.benchmark.evidence import Evidence
from foldpress.benchmark.table import block


def command(evidence: Evidence) -> str:
    """The command that made this report."""
    return str(evidence.facts.get("command") or "foldpress run RECIPE -o DIR")


def recipe_toml(recipe: object) -> str | None:
    """The recipe as it would be written; JSON's scalars and lists are TOML's too. None: there is no recipe."""
    if not isinstance(recipe, Mapping):
        return None if recipe is None else str(recipe)
    tables = []
    for name, table in recipe.items():
        entries = table.items() if isinstance(table, Mapping) else ()
        lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in entries if value is not None]
        tables += ["\n".join([f"[{name}]", *lines])] if isinstance(table, Mapping) else []
    return "\n\n".join(tables)


def versions(report: Mapping[str, Any]) -> str | None:
    """The command that installs the packages of the run. A build such as +cpu is left to whoever installs."""
    found = block(report, "environment", "versions")
    wanted = [f"{name}=={str(version).partition('+')[0]}" for name, version in found.items()]
    return f"pip install {' '.join(wanted)}" if wanted else None


def made_from(report: Mapping[str, Any], evidence: Evidence) -> list[tuple[str, str]]:
    """SHA-256 of what went in and of what ships: the same digests, the same run."""
    digests = evidence.facts.get("digests") or {}
    ships = block(report, "graphs", str(report.get("artifact"))).get("sha256")
    return [*((str(name), str(value)) for name, value in digests.items()), *([("artifact", ships)] if ships else [])]
