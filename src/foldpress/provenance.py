"""What a run was made from: digests of model and data, and a key that changes with anything a stage depends on."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import foldpress
from foldpress.data import Dataset
from foldpress.files import sha256
from foldpress.graph import graph_files
from foldpress.machine import environment
from foldpress.recipe import Recipe


def digests(recipe: Recipe, dataset: Dataset, learned: Mapping[str, Dataset]) -> dict[str, str]:
    """Digests of the model (code beside the recipe, weights or graph, those of teachers too) and of every sample.

    `learned` are the samples that are not judged, by name.
    """
    code = sorted(recipe.folder.glob("*.py"))
    weights = [recipe.folder / name for name in (recipe.model.weights, recipe.model.source, *recipe.taught_by) if name]
    model = hashlib.sha256()
    for path in [*code, *weights]:
        for file in graph_files(path) if path.suffix == ".onnx" else [path]:
            if file.is_file():
                model.update(sha256(file).encode())
    found = {"model": model.hexdigest(), "data": dataset.fingerprint()}
    return found | {name: samples.fingerprint() for name, samples in learned.items()}


def stage_key(recipe: Recipe, found: dict[str, str]) -> str:
    """Changes with anything that a stage's product depends on; the gate's limits are not among it."""
    asked = recipe.model_dump(mode="json", exclude={"gate"})
    versions = environment()["versions"]
    return hashlib.sha256(json.dumps([asked, found, versions], sort_keys=True).encode()).hexdigest()


def manifest_facts(
    recipe: Recipe, found: dict[str, str], report: dict[str, Any], judged: Sequence[str]
) -> dict[str, Any]:
    """What the manifest says beside the files; `judged` are the tables of evidence that it vouches for."""
    return {
        "schema": report["schema"],
        "foldpress": foldpress.__version__,
        "verdict": report["verdict"],
        "judged": judged,
        "digests": found,
        "seeds": {"folds": recipe.folds.seed},
        "environment": report["environment"],
    }
