"""From what a table says of a training to what the training takes: student, teachers, samples, plan."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from foldpress.benchmark.scoring import Task, check_targets
from foldpress.callables import load_callable
from foldpress.data import Dataset, check_finite
from foldpress.errors import RequestError
from foldpress.graph import load_graph
from foldpress.optimizer.passes import LogEntry
from foldpress.tables.train import BASELINE, SELF, DistillTable, TeacherTable, TrainTable

if TYPE_CHECKING:
    import onnx_ir as ir
    import torch

    from foldpress.training.checkpoints import Checkpoint
    from foldpress.training.losses import Loss
    from foldpress.training.plan import Plan
    from foldpress.training.record import Trained
    from foldpress.training.samples import Pool
    from foldpress.training.teachers import Teacher


def distill_by(
    table: DistillTable,
    student: "torch.nn.Module",
    pool: "Pool",
    teachers: Sequence["Teacher"],
    loss: "Loss",
    folder: Path,
    checkpoint: "Checkpoint | None" = None,
) -> "Trained":
    """Train a student as a `[distill]` table says; the user's own code is beside the recipe, in `folder`."""
    from foldpress.training.distillation import distill

    return distill(student, pool, teachers, loss, make_plan(table, folder), features=table.features,
                   feature_weight=table.feature_weight, decay=table.decay, checkpoint=checkpoint)  # fmt: skip


def distilled_entry(trained: "Trained") -> LogEntry:
    """What the log says of a student."""
    held = trained.losses[trained.epoch - 1][1]
    detail = f"epoch {trained.epoch} of {len(trained.losses)} kept; loss on what was held back {held:.4g}"
    return LogEntry("distill", "student", "done", detail)


def build_student(table: DistillTable, folder: Path) -> "torch.nn.Module":
    """The student that a table names, its first weights drawn by the table's seed."""
    import torch

    from foldpress.exporter.source import build_model

    with torch.random.fork_rng():
        torch.manual_seed(table.seed)
        return build_model(str(table.student), table.weights, folder)


def check_task(name: str, output: int | None = None) -> None:
    """Refuse what no loss is known for.

    Raises:
        RequestError: says what is known.
    """
    if name not in ("classification", "regression"):
        raise RequestError(f"training for task {name}", available="classification, regression")
    if output:
        raise RequestError(
            f"training for output {output}", available="the first output", mend="let forward give it first"
        )


def check_samples(student: "torch.nn.Module", labelled: Dataset, task: Task) -> None:
    """Refuse samples that a student cannot be trained on, by what it gives for one of them.

    Raises:
        DataError: inputs of another type than its weights, or targets that are no classes of it.
    """
    from foldpress.exporter.parity import torch_outputs
    from foldpress.exporter.source import check_float_type

    check_float_type(student, labelled)
    if labelled.targets is not None:
        check_targets(labelled, task, torch_outputs(student, labelled.select(np.arange(1)))[:1])


def make_pool(module: "torch.nn.Module", labelled: Dataset, unlabelled: Dataset | None) -> "Pool":
    """Samples under the names of a module's inputs.

    Raises:
        DataError: names, types or values are wrong.
    """
    from foldpress.exporter.source import fit_names
    from foldpress.training.samples import Pool

    for dataset in filter(None, (labelled, unlabelled)):
        for name, array in dataset.inputs.items():
            check_finite(name, array)
    more = None if unlabelled is None else fit_names(module, Dataset(unlabelled.inputs, rows=unlabelled.rows))
    return Pool(fit_names(module, labelled), more)


def make_teachers(
    tables: Sequence[TeacherTable], folder: Path, baseline: "torch.nn.Module | ir.Model"
) -> list["Teacher"]:
    """The teachers that a table names.

    Raises:
        RequestError: there is no such callable, weights or file.
    """
    from foldpress.exporter.source import build_model
    from foldpress.training.teachers import Teacher

    def source(table: TeacherTable) -> Any:
        if table.source in (BASELINE, SELF):
            return baseline if table.source == BASELINE else None
        if table.source.endswith(".onnx"):
            return load_graph(folder / Path(table.source).expanduser())
        return build_model(table.source, table.weights, folder)

    return [Teacher(source(table), table.weight, table.classes) for table in tables]


def make_loss(table: TrainTable, task: str) -> "Loss":
    """How targets and teachers are weighed, as a table says."""
    from foldpress.training.losses import Loss

    return Loss(table.gamma, table.temperature, task == "classification", table.ramp_up)


def make_plan(table: TrainTable, folder: Path) -> "Plan":
    """How long and how fast, as a table says, with the user's own code beside the recipe."""
    from foldpress.training.plan import Plan

    own: dict[str, Any] = {name: load_callable(spec, folder) for name in ("optimizer", "schedule", "augment")
                           if (spec := getattr(table, name)) is not None}  # fmt: skip
    numbers = ("epochs", "batch", "learning_rate", "held_back", "patience", "seed")
    return Plan(**{name: getattr(table, name) for name in numbers}, **own)
