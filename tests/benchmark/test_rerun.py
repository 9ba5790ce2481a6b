"""How to run it again: the recipe reads back as it was, and versions can be installed."""

import tomllib
from dataclasses import replace
from typing import Any

from foldpress.benchmark.evidence import Evidence
from foldpress.benchmark.rerun import made_from, recipe_toml, versions

pytest_plugins = ["report_fixture"]
Report = dict[str, Any]


def test_the_recipe_reads_back_as_it_was(evidence: Evidence) -> None:
    """Catches a value that TOML reads as something else; null stands for a key that is not given."""
    recipe = evidence.facts["recipe"] | {
        "quantize": {"target": 'a"b\\c\n', "keep_float": ["x", "y"], "float_macs": 0.5}
    }
    wanted = {name: {key: value for key, value in table.items() if value is not None} for name, table in recipe.items()}
    assert tomllib.loads(recipe_toml(recipe) or "") == wanted


def test_versions_can_be_installed() -> None:
    """Catches a build of torch that no registry has."""
    found = versions({"environment": {"versions": {"torch": "2.13.0+cpu", "numpy": "2.4.6"}}})
    assert found == "pip install torch==2.13.0 numpy==2.4.6"
    assert versions({}) is None


def test_digests_of_what_went_in_and_what_ships(report: Report, evidence: Evidence) -> None:
    """Catches the digest of a graph that does not ship."""
    facts = {**evidence.facts, "digests": {"model": "ab", "data": "cd"}}
    assert made_from(report, replace(evidence, facts=facts)) == [
        ("model", "ab"),
        ("data", "cd"),
        ("artifact", "2" * 64),
    ]
