"""Training as a recipe asks for it: the student of `[distill]`, and the network of `[finetune]`.

Both learn from `[data] train`, or in a round of `refit` from what the fold may learn from; nothing that is judged has a part.
"""

import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import onnx_ir as ir
from onnx_ir.passes.common import NameFixPass

from foldpress.benchmark.scoring import Task
from foldpress.data import Dataset, fit_inputs
from foldpress.errors import ModelError
from foldpress.finetuning import finetune
from foldpress.folds import Folds
from foldpress.graph import input_specs
from foldpress.masked_network import MaskedNetwork
from foldpress.optimizer.passes import PassResult
from foldpress.pressing import Pressing
from foldpress.recipe import Recipe
from foldpress.tables.train import TrainTable
from foldpress.training_inputs import (
    build_student,
    check_samples,
    distill_by,
    loss_of,
    make_loss,
    make_plan,
    make_pool,
    make_teachers,
)

if TYPE_CHECKING:
    import torch

    from foldpress.training.checkpoints import Checkpoint
    from foldpress.training.losses import Loss
    from foldpress.training.record import Trained
    from foldpress.training.samples import Pool
    from foldpress.training.teachers import Teacher


@dataclass(frozen=True, eq=False)
class Training:
    """What a recipe's trainings are made from.

    Args:
        recipe: has `[distill]`, `[finetune]` or both.
        baseline: the network of `[model]`.
        train: labelled samples to learn from, as one fold.
        task: what the network does.
        unlabelled: more samples, by the table that names them.
    """

    recipe: Recipe
    baseline: "torch.nn.Module | ir.Model"
    train: Folds
    task: Task
    unlabelled: dict[str, Dataset]

    def check(self) -> None:
        """Try, on a sample, all that can be tried before training: what goes wrong later costs hours.

        Raises:
            RequestError: library, student, teachers, samples or the user's own code are not there or do not go together.
        """
        from foldpress.training.library import load_library
        from foldpress.training.objective import Objective

        load_library()
        for table in self.recipe.trainings:
            student = self.student()
            pool = self._pool(table, student)
            check_samples(student, pool.labelled, loss_of(table, self.task.name), self.output)
            make_plan(table, self.recipe.folder)
            Objective(student, pool, self._loss(table), self._teachers(table), features=table.features,
                      output=self.output, changing=True)  # fmt: skip

    def of(self, baseline: "torch.nn.Module", train: Folds) -> "Training":
        """The same trainings for another baseline, from other samples."""
        return replace(self, baseline=baseline, train=train)

    def distilled(self, checkpoint: "Checkpoint | None" = None) -> "Trained":
        """The student of `[distill]`, trained.

        Raises:
            DivergedError: the loss is no number any more.
        """
        table = self.recipe.distill
        assert table is not None  # noqa: S101  # else there is no student
        student = self.student()
        return distill_by(table, student, self._pool(table, student), self._teachers(table), self._loss(table),
                          self.recipe.folder, output=self.output, checkpoint=checkpoint)  # fmt: skip

    def finetuned(self, module: "torch.nn.Module", checkpoint: "Checkpoint | None" = None) -> PassResult:
        """The float graph of a trained module, pruned by `[prune]` and trained under its masks.

        Raises:
            RequestError: the budget of pruning cannot be met, or its masks cannot be traced to parameters.
            DivergedError: the loss is no number any more.
        """
        table = self.recipe.finetune
        assert table is not None  # noqa: S101  # else nothing is fine-tuned
        network = MaskedNetwork(module, self.train.development)
        fitted = fit_inputs(self.train.development, input_specs(network.graph))
        pressing = Pressing(self.recipe, network.graph, replace(self.train, development=fitted), self.task)
        prune = self.recipe.prune
        if prune is not None and (prune.latency is not None or prune.max_drop is not None):
            pressing.settle(pressing.choose())
        return finetune(
            network, pressing.press, self._pool(table, network.module), self._teachers(table), self._loss(table),
            make_plan(table, self.recipe.folder), gradual=table.gradual, factors=table.factors, checkpoint=checkpoint,
            tuning=None if self.recipe.share is None else self.recipe.share.tuning(),
            features=table.features, feature_weight=table.feature_weight, output=self.output,
        )  # fmt: skip

    def graph(self) -> ir.Model:
        """What pruning and quantization go on from, after all trainings."""
        module = self.distilled().module if self.recipe.distill is not None else self.module
        return self.named(self.finetuned(module).model if self.recipe.finetune is not None else self.exported(module))

    def exported(self, module: "torch.nn.Module") -> ir.Model:
        """The verified graph of a module."""
        from foldpress.exporter.export import export_model

        return self.named(export_model(module, self.train.development).graph)

    def named(self, graph: ir.Model) -> ir.Model:
        """The graph, changed in place, under the baseline's name of its one input: it takes the same samples."""
        names = [*self.train.development.inputs]
        if len(names) == len(graph.graph.inputs) == 1:
            graph.graph.inputs[0].name = names[0]
            NameFixPass()(graph)
        return graph

    @property
    def output(self) -> int:
        """Position of the output that is learned: the one that is judged."""
        return self.task.output or 0

    @property
    def module(self) -> "torch.nn.Module":
        """The network of `[model]`.

        Raises:
            ModelError: it is a graph.
        """
        if isinstance(self.baseline, ir.Model):
            raise ModelError(
                f"{self.recipe.model.source} is a graph, and PyTorch trains modules",
                mend='give [model] source = "module:callable", or [distill] student',
            )
        return self.baseline

    def student(self) -> "torch.nn.Module":
        """The student before training, or a copy of the network of `[model]`."""
        table = self.recipe.distill
        if table is None or table.student is None:
            return copy.deepcopy(self.module)
        return build_student(table, self.recipe.folder)

    def _pool(self, table: TrainTable, module: "torch.nn.Module") -> "Pool":
        more = None if table.unlabelled is None else self.unlabelled[table.unlabelled]
        return make_pool(module, self.train.development, more)

    def _teachers(self, table: TrainTable) -> list["Teacher"]:
        return make_teachers(table.teacher, self.recipe.folder, self.baseline)

    def _loss(self, table: TrainTable) -> "Loss":
        return make_loss(table, self.task.name)
