"""The main job, top to bottom: the only place that knows the order of the stages.

PyTorch model ──exporter──▶ float32 graph ──training──▶ the same or a student's ──optimizer──▶ pruned, shared, int8 graph
──benchmark──▶ verdict
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foldpress.benchmark.agreement import self_agreement
from foldpress.benchmark.checks import EXIT_CODES
from foldpress.benchmark.evidence import load_evidence, save_facts, save_latency
from foldpress.benchmark.latency import measure
from foldpress.benchmark.report import build_report
from foldpress.benchmark.scoring import check_baseline
from foldpress.benchmark.write import write_reports
from foldpress.data import Array, fit_inputs
from foldpress.facts import run_facts
from foldpress.graph import input_specs, load_graph
from foldpress.job import Job, open_job
from foldpress.judging import answers, judge, judged
from foldpress.origin import parity_log
from foldpress.pressing import Pressing
from foldpress.products import EXPORTED, PRESSED, artifact, graphs, trained
from foldpress.provenance import manifest_facts, stage_key
from foldpress.recipe import Recipe, load_recipe
from foldpress.rundir import RunDir
from foldpress.training_stages import train

_STATISTICS = "statistics.npz"


@dataclass(frozen=True)
class Report:
    """The outcome of a run: the verdict, its exit code, and report.json as nested dictionaries."""

    folder: Path
    document: dict[str, Any]

    @property
    def verdict(self) -> str:
        """PASS, FAIL or INCONCLUSIVE."""
        return str(self.document["verdict"])

    @property
    def exit_code(self) -> int:
        """0, 1 or 3."""
        return EXIT_CODES[self.verdict]


def run(recipe: Recipe | Path | str, output: Path | str = "foldpress-run", *, resume: bool = False) -> Report:
    """The whole job: export, prune, factorize, quantize, benchmark, check on held-out folds and the test split, judge, report.

    Args:
        recipe: a recipe, or the path of one.
        output: folder for the graphs, the evidence and the reports.
        resume: take over what an earlier run of the same recipe, model and data has finished there.

    Raises:
        RequestError: recipe, model or data are wrong (exit code 2).
        FoldpressError: a stage broke (exit code 4).
    """
    job = open_job(recipe if isinstance(recipe, Recipe) else load_recipe(Path(recipe)))
    here = RunDir(Path(output), stage_key(job.recipe, job.digests), resume=resume)
    with here.logging():
        return _report(here, job, _facts(here, job))


def _facts(here: RunDir, job: Job) -> dict[str, Any]:
    """Every stage but the report, in order; gives what the report is to say of them."""
    planned = job.plan()
    exported = here.stage("export", [f"{EXPORTED}*"], lambda: _export(here, job))
    taught = train(here, job)
    press, predictions = _open_baseline(here, job)
    here.stage("statistics", [_STATISTICS], press.collect)
    chosen = here.stage("precision", [], press.choose)
    press.settle(chosen)
    pressed = here.stage("press", [f"{name}*" for name in PRESSED], lambda: press.ship(here))
    scores = judge(here, job, press, predictions, chosen)
    here.stage("latency", ["evidence/latency.json"], lambda: _measure(here, job))
    agreed = here.stage("agreement", [], lambda: _agree(here, job))
    log = planned + parity_log(exported["parity"]) + taught + chosen["log"] + pressed["log"]
    return run_facts(here, job, scores) | exported | agreed | {
        "judged": judged(job), "pruning": pressed["pruning"], "factorization": pressed["factorization"], "log": log,
    }  # fmt: skip


def _export(here: RunDir, job: Job) -> dict[str, Any]:
    return {"parity": job.origin.export(here / EXPORTED, job.folds.development)}


def _open_baseline(here: RunDir, job: Job) -> tuple[Pressing, list[Array]]:
    """The graph after all training, ready to be pressed, and what the exported one predicts for the development samples."""
    baseline, samples = load_graph(here / EXPORTED), job.folds.development
    fit_inputs(samples, input_specs(baseline))
    predictions = answers(baseline, samples, "scoring the baseline", job)
    check_baseline(samples, predictions)
    start = load_graph(here / trained(here))
    return Pressing(job.recipe.pressed, start, job.folds, job.task, here / _STATISTICS), predictions


def _measure(here: RunDir, job: Job) -> dict[str, Any]:
    files, plans = {name: here / name for name in graphs(here)}, job.recipe.benchmark.plans(job.recipe.folds.seed)
    measured = [one for plan in plans for one in measure(files, job.folds.development, plan)]
    save_latency(measured, here / "evidence")
    return {}


def _agree(here: RunDir, job: Job) -> dict[str, Any]:
    """The artifact against itself, run in other ways."""
    provider = job.recipe.benchmark.first_provider()
    return {"agreement": self_agreement(here / artifact(here), job.folds.development, job.task, provider)}


def _report(here: RunDir, job: Job, facts: dict[str, Any]) -> Report:
    """Judge what was found, and write the reports and the manifest."""
    save_facts(facts, here / "evidence")
    evidence = load_evidence(here / "evidence")  # as saved: what is judged is what can be judged again
    document = build_report(evidence, job.recipe.gate.limits(), job.recipe.gate.confidence)
    write_reports(here.folder, document, evidence)
    here.finish(manifest_facts(job.recipe, job.digests, document, evidence.judged))
    return Report(here.folder, document)
