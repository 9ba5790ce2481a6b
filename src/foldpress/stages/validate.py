"""Judging two graphs on labelled samples, whoever made them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from foldpress.benchmark.accuracy import pair
from foldpress.benchmark.evidence import Evidence
from foldpress.benchmark.report import build_report, describe_graph
from foldpress.benchmark.scoring import Task, check_baseline, check_targets, make_task
from foldpress.data import Array, Dataset, fit_inputs
from foldpress.graph import batch_size, input_specs, load_graph
from foldpress.identity import identify
from foldpress.machine import environment
from foldpress.runtime import open_session, predict
from foldpress.sources import read_data


def validate(
    baseline: Path | str,
    artifact: Path | str,
    *,
    data: str,
    limits: Mapping[str, float],
    confidence: float = 0.95,
    task: str = "classification",
    folder: Path | str = ".",
) -> dict[str, Any]:
    """Paired non-inferiority of two graphs, whoever made them: {"verdict", "checks", "accuracy"}.

    Raises:
        RequestError: graphs, data or limits are wrong.
    """
    folder = Path(folder)
    dataset = read_data(data, folder)
    scorer = make_task(task, folder, dataset.y)
    graphs = {"baseline": Path(baseline), "artifact": Path(artifact)}
    outputs = [_outputs(path, name, dataset, scorer) for name, path in graphs.items()]
    check_baseline(dataset, outputs[0])
    facts = {
        "artifact": "artifact", "baseline": "baseline", "task": scorer.name, "metric": scorer.metric,
        "has_labels": scorer.has_labels, "graphs": {name: describe_graph(path) for name, path in graphs.items()},
        "timing": {}, "environment": environment(),
    }  # fmt: skip
    table = pair(scorer, dataset, outputs[0], outputs[1], identity=identify(dataset, grouped=True))
    report = build_report(Evidence(facts, table), limits, confidence)
    return {key: report[key] for key in ("verdict", "checks", "accuracy", "graphs", "confidence")}


def _outputs(path: Path, name: str, dataset: Dataset, task: Task) -> list[Array]:
    """What a graph answers, and that the targets are of that kind."""
    graph = load_graph(path)
    fitted = fit_inputs(dataset, input_specs(graph))
    outputs = predict(open_session(path), fitted, batch_size(graph), f"scoring the {name}")
    check_targets(fitted, task, outputs)
    return outputs
