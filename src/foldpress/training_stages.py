"""The trainings of a run, each a stage whose products are taken over by `--resume`; one that was interrupted goes on."""

from typing import TYPE_CHECKING, Any

from foldpress.graph import remove_graph, save_graph
from foldpress.job import Job
from foldpress.optimizer.lean import lean
from foldpress.optimizer.passes import LogEntry, apply
from foldpress.products import DISTILLED, FINETUNED, STUDENT
from foldpress.provenance import stage_key
from foldpress.rundir import RunDir
from foldpress.taught import Training
from foldpress.training_inputs import distilled_entry

if TYPE_CHECKING:
    import torch

    from foldpress.training.checkpoints import Checkpoint


_DISTILLING, _FINETUNING = "distill.checkpoint", "finetune.checkpoint"


def train(here: RunDir, job: Job) -> list[dict[str, str]]:
    """What the recipe wants trained, in order; gives the log. What an earlier run of another recipe left is removed."""
    recipe, training = job.recipe, job.training
    log: list[dict[str, str]] = []
    if recipe.distill is None or training is None:
        _remove(here, DISTILLED, STUDENT, _DISTILLING)
    else:
        log += here.stage("distill", [f"{DISTILLED}*", STUDENT], lambda: _distill(here, job, training))["log"]
    if recipe.finetune is None or training is None:
        _remove(here, FINETUNED, _FINETUNING)
    else:
        log += here.stage("finetune", [f"{FINETUNED}*"], lambda: _finetune(here, job, training))["log"]
    return log


def _remove(here: RunDir, graph: str, *others: str) -> None:
    remove_graph(here / graph)
    for name in others:
        (here / name).unlink(missing_ok=True)


def _distill(here: RunDir, job: Job, training: Training) -> dict[str, Any]:
    from foldpress.exporter.weights import save_weights

    checkpoint = _checkpoint(here, job, _DISTILLING)
    trained = training.distilled(checkpoint)
    save_graph(training.exported(trained.module), here / DISTILLED)
    save_weights(trained.module, here / STUDENT)
    checkpoint.remove()
    return {"log": [distilled_entry(trained).as_json()]}


def _finetune(here: RunDir, job: Job, training: Training) -> dict[str, Any]:
    checkpoint = _checkpoint(here, job, _FINETUNING)
    tuned = training.finetuned(_start(here, job, training), checkpoint)
    table = job.recipe.quantize
    written = apply(lean(keep_metadata=table is not None and table.keep_metadata), training.named(tuned.model))
    save_graph(written.model, here / FINETUNED)
    checkpoint.remove()
    entries: tuple[LogEntry, ...] = (*tuned.log, *written.log)
    return {"log": [entry.as_json() for entry in entries]}


def _start(here: RunDir, job: Job, training: Training) -> "torch.nn.Module":
    """The student as it was saved, or the network of `[model]`."""
    from foldpress.exporter.weights import load_weights

    if job.recipe.distill is None:
        return training.module
    student = training.student()
    load_weights(student, here / STUDENT)
    return student


def _checkpoint(here: RunDir, job: Job, name: str) -> "Checkpoint":
    from foldpress.training.checkpoints import Checkpoint

    return Checkpoint(here / name, stage_key(job.recipe, job.digests), resume=here.resume)
