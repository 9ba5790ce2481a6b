"""The graphs of a run on samples that they have not learned from. Running alone: the gate judges by what is saved here."""

from typing import Any

import onnx_ir as ir

from foldpress.benchmark.accuracy import concatenate, pair
from foldpress.benchmark.evidence import JUDGED, save_pictures, save_table
from foldpress.benchmark.metrics import Metric, make_metric
from foldpress.benchmark.pictures import flipped_pictures
from foldpress.benchmark.pooled import FoldAnswers, resample_folds
from foldpress.benchmark.scoring import check_baseline
from foldpress.benchmark.whole_set import resample, save_metric
from foldpress.data import Array, Dataset, fit_inputs
from foldpress.files import sha256
from foldpress.graph import batch_size, input_specs, load_graph
from foldpress.job import Job
from foldpress.pressing import Pressing
from foldpress.products import EXPORTED, artifact, graphs
from foldpress.progress import track
from foldpress.refit import refit
from foldpress.rundir import RunDir
from foldpress.runtime import open_session, predict


def judged(job: Job) -> list[str]:
    """The evidence that the gate will ask for."""
    recipe = job.recipe
    asked = {"test": True, "folds": any(job.folds.rounds()), "refit": recipe.folds.refit is not None}
    asked["whole_set"] = recipe.data.metric is not None
    asked["whole_set_folds"] = asked["whole_set"] and asked["folds"]
    return [name for name in JUDGED if asked[name]]


def judge(
    here: RunDir, job: Job, press: Pressing, predictions: list[Array], chosen: dict[str, Any]
) -> dict[str, float]:
    """Judge by every evidence that the recipe asks for; gives the score of each graph on the test split.

    Args:
        here: where the evidence is saved.
        job: what is judged.
        press: makes the graph of each round.
        predictions: of the baseline, for the development samples.
        chosen: what `Pressing.choose` found.
    """
    asked = judged(job)
    for name in set(JUDGED) - set(asked):  # of an earlier run with other folds
        (here / f"evidence/{name}.npz").unlink(missing_ok=True)
    if "folds" in asked:
        files = [f"evidence/{name}.npz" for name in ("folds", "whole_set_folds")]
        here.stage("folds", files, lambda: _judge_folds(here, job, press, predictions))
    if "refit" in asked:
        here.stage("refit", ["evidence/refit.npz"], lambda: _judge_refit(here, job, chosen))
    files = [f"evidence/{name}.npz" for name in ("test", "flips", "whole_set")]
    scores: dict[str, float] = here.stage("test", files, lambda: _judge_test(here, job))["scores"]
    return scores


def answers(graph: ir.Model, dataset: Dataset, label: str, job: Job) -> list[Array]:
    """A graph's judged outputs on the first provider that the recipe names: what ships there is judged there."""
    session = open_session(graph, **job.recipe.benchmark.first_provider())
    return job.task.of(predict(session, dataset, batch_size(graph), label))


def _judge_folds(here: RunDir, job: Job, press: Pressing, predictions: list[Array]) -> dict[str, Any]:
    """Every development sample scored once in each repeat, by the graph made without its fold."""
    tables, parts, folds = [], [], job.folds
    identity = job.identity(folds.development)
    for repeat, fold, graph in track(press.rounds(), "judging held-out folds", len(list(folds.rounds()))):
        rows = folds.held_out(repeat, fold)
        held_out = folds.development.select(rows)
        after, before = answers(graph, held_out, f"fold {fold}", job), [found[rows] for found in predictions]
        tables.append(pair(job.task, held_out, before, after, repeat=repeat, fold=fold, identity=identity.at(rows)))
        if job.recipe.data.metric is not None:
            parts.append(FoldAnswers(repeat, rows, after))
    save_table(concatenate(tables), here / "evidence/folds.npz")
    if parts:
        y, group = folds.development.y, identity.group
        drop = resample_folds(_metric(job), y, predictions, parts, group, **_draws(job))
        save_metric(drop, here / "evidence/whole_set_folds.npz")
    return {}


def _judge_refit(here: RunDir, job: Job, chosen: dict[str, Any]) -> dict[str, Any]:
    """Every development sample scored once in each repeat, by networks that were trained without its fold."""
    tables, folds = [], job.folds
    identity = job.identity(folds.development)
    rounds = refit(job.recipe, folds, job.task, chosen, job.training)
    for one in track(rounds, "training anew in each fold", len(list(folds.rounds()))):
        rows = folds.held_out(one.repeat, one.fold)
        held_out = fit_inputs(folds.development.select(rows), input_specs(one.baseline))
        before, after = (answers(graph, held_out, f"fold {one.fold}", job) for graph in (one.baseline, one.artifact))
        check_baseline(held_out, before)
        where = {"repeat": one.repeat, "fold": one.fold, "trained_on": one.trained_on}
        tables.append(pair(job.task, held_out, before, after, identity=identity.at(rows), **where))
    save_table(concatenate(tables), here / "evidence/refit.npz")
    return {}


def _judge_test(here: RunDir, job: Job) -> dict[str, Any]:
    """The shipped graph on samples that no stage has seen. This opens the test split, for this artifact only.

    The graphs on the way are scored too: nothing is chosen by it, and the report shows where accuracy went.
    """
    test, task = job.folds.test.open(sha256(here / artifact(here))), job.task
    outputs = {name: answers(load_graph(here / name), test, f"scoring {name}", job) for name in graphs(here)}
    before, after = outputs[EXPORTED], outputs[artifact(here)]
    table = pair(task, test, before, after, identity=job.identity(test))
    save_table(table, here / "evidence/test.npz")
    if job.recipe.data.metric is not None:
        drop = resample(_metric(job), test.y, before, after, table.group, **_draws(job))
        save_metric(drop, here / "evidence/whole_set.npz")
    save_pictures(flipped_pictures(test, table) if task.has_labels else None, here / "evidence/flips.npz")
    return {"scores": {name: float(task.score(test.y, found).mean()) for name, found in outputs.items()}}


def _metric(job: Job) -> Metric:
    return make_metric(str(job.recipe.data.metric), job.recipe.folder)


def _draws(job: Job) -> dict[str, Any]:
    """How samples are drawn anew for it."""
    return {"has_labels": job.task.has_labels, "seed": job.recipe.folds.seed}
