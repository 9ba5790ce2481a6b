"""Judging graphs and finished runs; the exit code is the verdict."""

from pathlib import Path
from typing import Annotated

import typer

import foldpress
from foldpress.commands.options import (
    Confidence,
    Data,
    Json,
    MaxClassDrop,
    MaxDrop,
    MaxFlips,
    MaxMetricDrop,
    Quiet,
    Task,
    Verbose,
)
from foldpress.commands.verdict import exit_code, summarize
from foldpress.console import checks_table, command, verdict_line
from foldpress.render import show_validation


def validate(
    baseline: Annotated[Path, typer.Argument(help="The graph that is right.")],
    artifact: Annotated[Path, typer.Argument(help="The graph that is judged.")],
    data: Data,
    max_drop: MaxDrop = None, max_flips: MaxFlips = None, max_class_drop: MaxClassDrop = None,
    max_metric_drop: MaxMetricDrop = None,
    confidence: Confidence = 0.95,
    task: Task = "classification",
    metric: Annotated[str | None, typer.Option(help="Of the whole set, beside it: f1, auc or module:callable.")] = None,
    judged_output: Annotated[str | None, typer.Option(help="The output that the targets belong to, by name or position: "
                                                      "the first.")] = None,
    json: Json = False, quiet: Quiet = False, verbose: Verbose = False,
) -> None:  # fmt: skip
    """Paired non-inferiority of any two graphs, whoever made them."""
    with command(as_json=json, quiet=quiet, verbose=verbose) as out:
        limits = _given(max_drop=max_drop, max_flips=max_flips, max_class_drop=max_class_drop,
                        max_metric_drop=max_metric_drop)  # fmt: skip
        found = foldpress.validate(
            baseline, artifact, data=data, limits=limits, confidence=confidence or 0.95, task=task, metric=metric,
            judged_output=judged_output,
        )  # fmt: skip
        summarize(found)
        out.show(found, *show_validation(found))
    raise typer.Exit(exit_code(found["verdict"]))


def gate(
    folder: Annotated[Path, typer.Argument(help="The folder of a finished run.")],
    max_drop: MaxDrop = None, max_flips: MaxFlips = None, max_class_drop: MaxClassDrop = None,
    max_metric_drop: MaxMetricDrop = None,
    min_speedup: Annotated[float | None, typer.Option(help="On the lower bound.")] = None,
    max_bytes: Annotated[float | None, typer.Option()] = None,
    max_latency_p90: Annotated[float | None, typer.Option(help="Milliseconds.")] = None,
    max_disagreement: Annotated[float | None, typer.Option(help="Largest share that changes with how it is run.")] = None,
    confidence: Confidence = None,
    baseline: Annotated[Path | None, typer.Option(help="The last release's report.json, in its run's folder.")] = None,
    max_drop_since: Annotated[float | None, typer.Option(help="Largest drop since then, on the upper bound.")] = None,
    max_growth: Annotated[float | None, typer.Option(help="Largest share of bytes gained since then.")] = None,
    max_slowdown: Annotated[float | None, typer.Option(help="Largest share of speed lost since then.")] = None,
    json: Json = False, quiet: Quiet = False, verbose: Verbose = False,
) -> None:  # fmt: skip
    """Judge saved evidence again, perhaps by other limits or against the last release; runs nothing."""
    from foldpress.saved import judge_saved

    with command(as_json=json, quiet=quiet, verbose=verbose) as out:
        limits = _given(max_drop=max_drop, max_flips=max_flips, max_class_drop=max_class_drop,
                        max_metric_drop=max_metric_drop, min_speedup=min_speedup,
                        max_bytes=max_bytes, max_latency_p90=max_latency_p90, max_disagreement=max_disagreement)  # fmt: skip
        since = _given(max_drop_since=max_drop_since, max_growth=max_growth, max_slowdown=max_slowdown)
        document = judge_saved(folder, limits, confidence, baseline, since)
        summarize(document)
        found = {key: document[key] for key in ("verdict", "checks")}
        out.show(found, verdict_line(found["verdict"], str(folder)), checks_table(found["checks"]))
    raise typer.Exit(exit_code(found["verdict"]))


def _given(**limits: float | None) -> dict[str, float]:
    return {name: limit for name, limit in limits.items() if limit is not None}
