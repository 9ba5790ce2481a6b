"""From what a table says of a training to what the training takes: student, teachers, samples, plan."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from foldpress.benchmark.scoring import check_targets, make_task
from foldpress.callables import load_callable
from foldpress.data import Dataset, check_finite
from foldpress.errors import ModelError, RequestError
from foldpress.graph import load_graph
from foldpress.optimizer.passes import LogEntry
from foldpress.tables.train import BASELINE, CROSS_ENTROPY, SELF, SQUARED_ERROR, DistillTable, TeacherTable, TrainTable

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
    *,
    output: int = 0,
    checkpoint: "Checkpoint | None" = None,
) -> "Trained":
    """Train a student as a `[distill]` table says; the user's own code is beside the recipe, in `folder`."""
    from foldpress.training.distillation import distill

    return distill(student, pool, teachers, loss, make_plan(table, folder), features=table.features,
                   feature_weight=table.feature_weight, decay=table.decay, output=output, checkpoint=checkpoint)  # fmt: skip


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


def loss_of(table: TrainTable, task: str) -> str:
    """The loss that a table names, or that goes with a task.

    Raises:
        RequestError: a metric of the user's does not say which.
    """
    found = table.loss or {"classification": CROSS_ENTROPY, "regression": SQUARED_ERROR}.get(task)
    if found is None:
        raise RequestError(
            f"training for task {task}",
            available="classification, regression",
            mend=f'name what the network is trained for: loss = "{CROSS_ENTROPY}" or "{SQUARED_ERROR}"',
        )
    return found


def check_samples(student: "torch.nn.Module", labelled: Dataset, loss: str, output: int = 0) -> None:
    """Refuse samples that a student cannot be trained on, by what it gives for one of them.

    Args:
        student: the network.
        labelled: samples under the names of its inputs.
        loss: of the labels, cross-entropy or squared error.
        output: position of the output that is learned.

    Raises:
        ModelError: there is no such output.
        DataError: inputs of another type than its weights, or targets that are no classes of it.
    """
    from foldpress.exporter.parity import torch_outputs
    from foldpress.exporter.source import check_float_type

    check_float_type(student, labelled)
    outputs = torch_outputs(student, labelled.select(np.arange(1)))
    if output >= len(outputs):
        raise ModelError(f"the student has no output {output}", available=f"0 … {len(outputs) - 1}")
    if labelled.targets is not None:
        name = "classification" if loss == CROSS_ENTROPY else "regression"
        task = replace(make_task(name, Path(), labelled.y), output=output)
        check_targets(labelled, task, task.of(outputs))


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
    """How targets and teachers are weighed, as a table says; see `loss_of`."""
    from foldpress.training.losses import Loss

    classes = loss_of(table, task) == CROSS_ENTROPY
    return Loss(table.gamma, table.temperature, classes, table.ramp_up)


def make_plan(table: TrainTable, folder: Path) -> "Plan":
    """How long and how fast, as a table says, with the user's own code beside the recipe."""
    from foldpress.training.plan import Plan

    own: dict[str, Any] = {name: load_callable(spec, folder) for name in ("optimizer", "schedule", "augment")
                           if (spec := getattr(table, name)) is not None}  # fmt: skip
    numbers = ("epochs", "batch", "learning_rate", "held_back", "patience", "seed")
    return Plan(**{name: getattr(table, name) for name in numbers}, **own)
