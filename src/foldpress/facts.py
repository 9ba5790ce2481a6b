"""What the report says of a run beside what was judged: its graphs, what they cost, and where they came about."""

import shlex
from typing import Any

from foldpress.benchmark.report import describe_cost
from foldpress.cost import GraphCost, graph_cost, layer_entries
from foldpress.graph import load_graph
from foldpress.job import Job
from foldpress.kernels import kernels_entry
from foldpress.machine import environment
from foldpress.products import EXPORTED, artifact, graphs
from foldpress.rundir import RunDir
from foldpress.storage.sizes import packed_entry


def run_facts(here: RunDir, job: Job, scores: dict[str, float]) -> dict[str, Any]:
    """The facts of a run, as nested dictionaries; `scores` are those of its graphs on the test split, by name."""
    recipe, task = job.recipe, job.task
    costs = {name: graph_cost(load_graph(here / name)) for name in graphs(here)}
    return {
        "artifact": artifact(here),
        "baseline": EXPORTED,
        "task": task.name,
        "metric": task.metric,
        "has_labels": task.has_labels,
        "limits": recipe.gate.limits(),
        "confidence": recipe.gate.confidence,
        "graphs": {name: _graph_entry(here, job, name, cost) | {"score": scores[name]} for name, cost in costs.items()},
        "layers": {name: layer_entries(cost) for name, cost in costs.items()},
        "recipe": recipe.model_dump(mode="json", exclude_none=True),
        "command": f"foldpress run {shlex.quote(str(recipe.path))}",
        "digests": job.digests,
        "timing": here.timing,
        "environment": environment(),
    }


def _graph_entry(here: RunDir, job: Job, name: str, cost: GraphCost) -> dict[str, Any]:
    kernels = kernels_entry(here / name, **job.recipe.benchmark.first_provider())
    return describe_cost(here / name, cost) | packed_entry(here / name) | kernels
