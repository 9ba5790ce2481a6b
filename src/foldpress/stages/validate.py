"""Judging two graphs on labelled samples, whoever made them."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from foldpress.benchmark.accuracy import pair
from foldpress.benchmark.evidence import Evidence
from foldpress.benchmark.metrics import make_metric
from foldpress.benchmark.report import build_report, describe_graph
from foldpress.benchmark.scoring import Task, check_baseline, check_targets, make_task, output_position
from foldpress.benchmark.whole_set import resample
from foldpress.data import Array, Dataset, fit_inputs
from foldpress.graph import batch_size, input_specs, load_graph, output_names
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
    metric: str | None = None,
    judged_output: int | str | None = None,
    folder: Path | str = ".",
) -> dict[str, Any]:
    """Paired non-inferiority of two graphs, whoever made them: {"verdict", "checks", "accuracy"}.

    `metric` is one of the whole set beside the task's, as `[data] metric` names it; its limit is `max_metric_drop`.
    `judged_output` is the output that the targets belong to, by name or by position from 0, where it is not the first.

    Raises:
        RequestError: graphs, data or limits are wrong.
    """
    folder = Path(folder)
    dataset = read_data(data, folder)
    scorer = make_task(task, folder, dataset.y)
    of_all = None if metric is None else make_metric(metric, folder)
    graphs = {"baseline": Path(baseline), "artifact": Path(artifact)}
    before, after = (_outputs(path, name, dataset, scorer, judged_output) for name, path in graphs.items())
    check_baseline(dataset, before)
    facts = {
        "artifact": "artifact", "baseline": "baseline", "task": scorer.name, "metric": scorer.metric,
        "has_labels": scorer.has_labels, "graphs": {name: describe_graph(path) for name, path in graphs.items()},
        "timing": {}, "environment": environment(), "recipe": {"data": {"metric": metric}},
        "judged": ["test"] if of_all is None else ["test", "whole_set"],
    }  # fmt: skip
    table = pair(scorer, dataset, before, after, identity=identify(dataset, grouped=True))
    drop = of_all and resample(of_all, dataset.y, before, after, table.group, has_labels=scorer.has_labels)
    report = build_report(Evidence(facts, table, whole_set=drop), limits, confidence)
    return {key: report[key] for key in ("verdict", "checks", "accuracy", "graphs", "confidence")}


def _outputs(path: Path, name: str, dataset: Dataset, task: Task, judged: int | str | None) -> list[Array]:
    """What a graph answers, of what is judged, and that the targets are of that kind."""
    graph = load_graph(path)
    task = replace(task, output=output_position(judged, output_names(graph)))
    fitted = fit_inputs(dataset, input_specs(graph))
    outputs = task.of(predict(open_session(path), fitted, batch_size(graph), f"scoring the {name}"))
    check_targets(fitted, task, outputs)
    return outputs
