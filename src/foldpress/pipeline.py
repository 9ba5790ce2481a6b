"""The main job, top to bottom: the only place that knows the order of the stages.

PyTorch model ──exporter──▶ float32 graph ──optimizer──▶ pruned, int8 graph ──benchmark──▶ verdict
"""

import logging
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx_ir as ir

from foldpress.benchmark.accuracy import concatenate, pair
from foldpress.benchmark.agreement import self_agreement
from foldpress.benchmark.evidence import JUDGED, load_evidence, save_facts, save_latency, save_pictures, save_table
from foldpress.benchmark.gate import EXIT_CODES
from foldpress.benchmark.latency import measure
from foldpress.benchmark.pictures import flipped_pictures
from foldpress.benchmark.planning import plan_samples
from foldpress.benchmark.report import build_report, describe_cost
from foldpress.benchmark.scoring import Task, check_baseline, check_targets, make_task
from foldpress.benchmark.whole_set import make_metric, resample, save_metric
from foldpress.benchmark.write import write_reports
from foldpress.cost import graph_cost, layer_entries
from foldpress.data import Array, Dataset, check_disjoint, fit_inputs
from foldpress.files import sha256
from foldpress.folds import Folds, make_folds
from foldpress.graph import batch_size, input_specs, load_graph
from foldpress.identity import Identity, identify
from foldpress.kernels import kernels_entry
from foldpress.machine import environment
from foldpress.origin import open_origin, parity_log
from foldpress.pressing import PRUNED, QUANTIZED, Pressing
from foldpress.progress import track
from foldpress.provenance import digests, manifest_facts, stage_key
from foldpress.providers import check_provider
from foldpress.recipe import Recipe, load_recipe
from foldpress.refit import open_refit, refit
from foldpress.rundir import RunDir
from foldpress.runtime import open_session, predict
from foldpress.schemes import GROUPED, Scheme
from foldpress.sources import read_data
from foldpress.storage.sizes import packed_entry

EXPORTED, STATISTICS = "exported.onnx", "statistics.npz"
_logger = logging.getLogger(__name__)


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
    """The whole job: export, prune, quantize, benchmark, check on held-out folds and the test split, judge, report.

    Args:
        recipe: a recipe, or the path of one.
        output: folder for the graphs, the evidence and the reports.
        resume: take over what an earlier run of the same recipe, model and data has finished there.

    Raises:
        RequestError: recipe, model or data are wrong (exit code 2).
        FoldpressError: a stage broke (exit code 4).
    """
    recipe = recipe if isinstance(recipe, Recipe) else load_recipe(Path(recipe))
    for plan in recipe.benchmark.plans(recipe.folds.seed):
        check_provider(plan.provider, plan.provider_options)
    dataset = read_data(recipe.data.source, recipe.folder)
    train = read_data(recipe.data.train, recipe.folder) if recipe.data.train else None
    task = make_task(recipe.data.task, recipe.folder, dataset.y)
    if recipe.data.metric is not None:
        make_metric(recipe.data.metric, recipe.folder)
    if recipe.folds.refit is not None:
        open_refit(recipe)  # what is not there is said now, not after all else
    found = digests(recipe, dataset, train)
    origin = open_origin(recipe.model.source, recipe.model.weights, recipe.folder, dataset)
    check_targets(origin.dataset, task, origin.outputs)
    folds = _folds(recipe, origin.dataset, train, task)

    here = RunDir(Path(output), stage_key(recipe, found), resume=resume)
    with here.logging():
        planned = _plan(recipe, folds, task)
        exported = here.stage(
            "export", [f"{EXPORTED}*"], lambda: {"parity": origin.export(here / EXPORTED, folds.development)}
        )
        baseline = load_graph(here / EXPORTED)
        fit_inputs(folds.development, input_specs(baseline))
        predictions = _predict(baseline, folds.development, "scoring the baseline", recipe)
        check_baseline(folds.development, predictions)

        press = Pressing(recipe, baseline, folds, task, here / STATISTICS)
        here.stage("statistics", [STATISTICS], press.collect)
        chosen = here.stage("precision", [], press.choose)
        press.settle(chosen)
        pressed = here.stage("press", [f"{PRUNED}*", f"{QUANTIZED}*"], lambda: press.ship(here))
        judged = _judged(recipe, folds)
        for name in set(JUDGED) - set(judged):  # of an earlier run with other folds
            (here / f"evidence/{name}.npz").unlink(missing_ok=True)
        if "folds" in judged:
            here.stage("folds", ["evidence/folds.npz"], lambda: _judge_folds(here, press, folds, task, predictions))
        if "refit" in judged:
            here.stage("refit", ["evidence/refit.npz"], lambda: _judge_refit(here, recipe, folds, task, chosen))
        answers = [f"evidence/{name}.npz" for name in ("test", "flips", "whole_set")]
        tested = here.stage("test", answers, lambda: _judge_test(here, recipe, folds, task))
        here.stage("latency", ["evidence/latency.json"], lambda: _measure(here, recipe, folds.development))

        agreed = here.stage("agreement", [], lambda: _agree(here, recipe, folds.development, task))

        facts = _facts(recipe, task, here, tested["scores"], found)
        facts |= {"parity": exported["parity"], "agreement": agreed["agreement"], "judged": judged}
        facts["pruning"] = pressed.get("pruning")
        facts["log"] = planned + parity_log(exported["parity"]) + chosen["log"] + pressed["log"]
        save_facts(facts, here / "evidence")
        evidence = load_evidence(here / "evidence")  # as saved: what is judged is what can be judged again
        document = build_report(evidence, recipe.gate.limits(), recipe.gate.confidence)
        write_reports(here.folder, document, evidence)
        here.finish(manifest_facts(recipe, found, document, evidence.judged))
    return Report(here.folder, document)


def _folds(recipe: Recipe, dataset: Dataset, train: Dataset | None, task: Task) -> Folds:
    """Folds and test split, proven disjoint from each other and from the training data."""
    table = recipe.folds
    scheme: Scheme = table.scheme or ("stratified" if task.has_labels else "kfold")
    if dataset.group is not None and scheme not in GROUPED:
        _logger.warning("the data have groups, and scheme = %r takes their samples for independent", scheme)
    folds = make_folds(
        dataset, splits=table.splits, scheme=scheme, repeats=table.repeats, test=table.test, seed=table.seed
    )
    if train is not None:
        if len(train.inputs) == 1 and len(dataset.inputs) == 1:  # the one array may go by any name on either side
            train = train.renamed({next(iter(train.inputs)): next(iter(dataset.inputs))})
        check_disjoint({"train": train, "data": dataset})
    return folds


def _plan(recipe: Recipe, folds: Folds, task: Task) -> list[dict[str, str]]:
    """Say now which limits the samples are too few for. Only identities and labels of the test split are looked at."""
    if not task.has_labels:
        return []
    targets, identity = folds.test.census(grouped=recipe.folds.scheme in GROUPED)
    plans = plan_samples(recipe.gate.limits(), recipe.gate.confidence, identity, targets)
    for plan in plans:
        _logger.log(logging.INFO if plan.enough else logging.WARNING, "%s", plan.detail)
    return [plan.as_json() for plan in plans]


def _judged(recipe: Recipe, folds: Folds) -> list[str]:
    """The evidence that the gate will ask for."""
    asked = {"test": True, "folds": any(folds.rounds()), "refit": recipe.folds.refit is not None}
    asked["whole_set"] = recipe.data.metric is not None
    return [name for name in JUDGED if asked[name]]


def _judge_folds(here: RunDir, press: Pressing, folds: Folds, task: Task, predictions: list[Array]) -> dict[str, Any]:
    """Every development sample scored once in each repeat, by the graph made without its fold."""
    tables = []
    identity = _identity(press.recipe, folds.development)
    for repeat, fold, graph in track(press.rounds(), "judging held-out folds", len(list(folds.rounds()))):
        rows = folds.held_out(repeat, fold)
        held_out = folds.development.select(rows)
        outputs, before = _predict(graph, held_out, f"fold {fold}", press.recipe), [p[rows] for p in predictions]
        tables.append(pair(task, held_out, before, outputs, repeat=repeat, fold=fold, identity=identity.at(rows)))
    save_table(concatenate(tables), here / "evidence/folds.npz")
    return {}


def _judge_refit(here: RunDir, recipe: Recipe, folds: Folds, task: Task, chosen: dict[str, Any]) -> dict[str, Any]:
    """Every development sample scored once in each repeat, by networks that were trained without its fold."""
    tables = []
    identity = _identity(recipe, folds.development)
    for one in track(refit(recipe, folds, task, chosen), "training anew in each fold", len(list(folds.rounds()))):
        rows = folds.held_out(one.repeat, one.fold)
        held_out = fit_inputs(folds.development.select(rows), input_specs(one.baseline))
        before, after = (
            _predict(graph, held_out, f"fold {one.fold}", recipe) for graph in (one.baseline, one.artifact)
        )
        check_baseline(held_out, before)
        where = {"repeat": one.repeat, "fold": one.fold, "trained_on": one.trained_on}
        tables.append(pair(task, held_out, before, after, identity=identity.at(rows), **where))
    save_table(concatenate(tables), here / "evidence/refit.npz")
    return {}


def _judge_test(here: RunDir, recipe: Recipe, folds: Folds, task: Task) -> dict[str, Any]:
    """The shipped graph on samples that no stage has seen. This opens the test split, for this artifact only.

    The graphs on the way are scored too: nothing is chosen by it, and the report shows where accuracy went.
    """
    test = folds.test.open(sha256(here / _artifact(here)))
    outputs = {name: _predict(load_graph(here / name), test, f"scoring {name}", recipe) for name in _graphs(here)}
    before, after = outputs[EXPORTED], outputs[_artifact(here)]
    table = pair(task, test, before, after, identity=_identity(recipe, test))
    save_table(table, here / "evidence/test.npz")
    if recipe.data.metric is not None:
        metric = make_metric(recipe.data.metric, recipe.folder)
        drop = resample(metric, test.y, before, after, table.group, has_labels=task.has_labels, seed=recipe.folds.seed)
        save_metric(drop, here / "evidence/whole_set.npz")
    save_pictures(flipped_pictures(test, table) if task.has_labels else None, here / "evidence/flips.npz")
    return {"scores": {name: float(task.score(test.y, found).mean()) for name, found in outputs.items()}}


def _identity(recipe: Recipe, dataset: Dataset) -> Identity:
    return identify(dataset, grouped=recipe.folds.scheme in GROUPED)


def _measure(here: RunDir, recipe: Recipe, samples: Dataset) -> dict[str, Any]:
    graphs = {name: here / name for name in _graphs(here)}
    measured = [one for plan in recipe.benchmark.plans(recipe.folds.seed) for one in measure(graphs, samples, plan)]
    save_latency(measured, here / "evidence")
    return {}


def _agree(here: RunDir, recipe: Recipe, samples: Dataset, task: Task) -> dict[str, Any]:
    """The artifact against itself, run in other ways."""
    graph = here / _artifact(here)
    return {"agreement": self_agreement(graph, samples, task, recipe.benchmark.first_provider())}


def _predict(graph: ir.Model, dataset: Dataset, label: str, recipe: Recipe) -> list[Array]:
    """A graph's outputs on the first provider that the recipe names: what ships there is judged there."""
    session = open_session(graph, **recipe.benchmark.first_provider())
    return predict(session, dataset, batch_size(graph), label)


def _graphs(here: RunDir) -> list[str]:
    """The graphs of this run, in order; the last one ships."""
    return [name for name in (EXPORTED, PRUNED, QUANTIZED) if (here / name).is_file()]


def _artifact(here: RunDir) -> str:
    return _graphs(here)[-1]


def _facts(recipe: Recipe, task: Task, here: RunDir, scores: dict[str, float], found: dict[str, str]) -> dict[str, Any]:
    costs = {name: graph_cost(load_graph(here / name)) for name in _graphs(here)}
    provider = recipe.benchmark.first_provider()
    return {
        "artifact": _artifact(here),
        "baseline": EXPORTED,
        "task": task.name,
        "metric": task.metric,
        "has_labels": task.has_labels,
        "limits": recipe.gate.limits(),
        "confidence": recipe.gate.confidence,
        "graphs": {
            name: describe_cost(here / name, cost)
            | packed_entry(here / name)
            | kernels_entry(here / name, **provider)
            | {"score": scores[name]}
            for name, cost in costs.items()
        },
        "layers": {name: layer_entries(cost) for name, cost in costs.items()},
        "recipe": recipe.model_dump(mode="json", exclude_none=True),
        "command": f"foldpress run {shlex.quote(str(recipe.path))}",
        "digests": found,
        "timing": here.timing,
        "environment": environment(),
    }
