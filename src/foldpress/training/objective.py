"""What a network is trained for: labels, teachers and features, of one batch."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from foldpress.data import Dataset
from foldpress.errors import DataError, ModelError, RequestError
from foldpress.exporter.source import as_tensors
from foldpress.training.features import Features
from foldpress.training.hearing import hear
from foldpress.training.losses import Loss, Soft
from foldpress.training.samples import Batch, Pool, Tensors
from foldpress.training.scores import Scores, scores_of
from foldpress.training.teachers import Answering, Average, Fixed, Teacher

_SAMPLE = 2  # samples that tell which shapes there are


class Objective:
    """The loss of a student beside its teachers, ready for one training.

    Args:
        student: in its place on a device already, in inference mode.
        pool: all samples.
        loss: how targets and soft targets are weighed.
        teachers: none: the student learns from its targets alone.
        features: names of the teacher's modules by those of the student's.
        feature_weight: of their squared error beside the rest.
        decay: of the moving average, for a teacher without a source.
        output: position of the output that is learned; of a network with one, that one.
        changing: whether inputs are augmented, so that a teacher's answers cannot be remembered.

    Raises:
        RequestError: teachers and student do not go together, or there is nothing to learn from.
    """

    def __init__(
        self,
        student: torch.nn.Module,
        pool: Pool,
        loss: Loss,
        teachers: Sequence[Teacher] = (),
        *,
        features: Mapping[str, str] | None = None,
        feature_weight: float = 1.0,
        decay: float = 0.99,
        output: int = 0,
        changing: bool = False,
    ) -> None:
        self._student, self.loss, self._weight, self._output = student, loss, feature_weight, output
        self._device = next((one.device for one in student.parameters()), torch.device("cpu"))
        sample = pool.labelled.select(np.arange(min(_SAMPLE, len(pool.labelled))))
        inputs = {name: one.to(self._device) for name, one in as_tensors(sample.batch(slice(None))).items()}
        with torch.no_grad():
            own, _ = hear(student, inputs, output=output)
        _check_targets(pool, loss, teachers)
        positions = _positions(pool) if loss.classes else None
        self._scores = Scores() if positions is None else scores_of(own, positions, whose="the network")
        own = self._scores(own)
        self._done: Callable[[], float] = lambda: 1.0  # the share of the training that is done
        self._average = Average(student, decay, self._scores, output)
        remembered = None if changing or features else pool
        self._answering = [self._at_work(one, sample, positions, own, remembered) for one in teachers]
        self._places = [(one.weight, self._classes(one)) for one in teachers]
        self.features = self._features(dict(features or {}), inputs)

    def attach(self, engine: Any) -> None:
        """From now on γ rises with the steps, and the moving average, if it teaches, follows the student."""
        self._done = lambda: engine.state.iteration / (engine.state.max_epochs * engine.state.epoch_length)
        if self._average in self._answering:
            self._average.attach(engine)

    @property
    def result(self) -> torch.nn.Module:
        """What is kept of the training: the student, or its moving average where that has taught it."""
        return self._average.module

    @property
    def state(self) -> dict[str, torch.nn.Module]:
        """What changes beside the student, by name."""
        found = {"features": self.features, "average": self.result if self.result is not self._student else None}
        return {name: module for name, module in found.items() if module is not None}

    def __call__(self, batch: Batch) -> torch.Tensor:
        """The loss that is minimized, a scalar."""
        pairs = self.features.pairs if self.features is not None else {}
        outputs, own = hear(self._student, batch.inputs, [*pairs], self._output)
        soft, theirs = self._soft(batch, [*pairs.values()])
        loss = self.loss.at(self._done())(self._scores(outputs), batch.targets, soft)
        return loss if self.features is None else loss + self._weight * self.features(own, theirs)

    def judge(self, batch: Batch) -> torch.Tensor:
        """How far the result is from the targets, or, where there are none, from the teachers; a scalar."""
        outputs = self._scores(hear(self.result, batch.inputs, output=self._output)[0])
        if batch.targets is not None:
            return self.loss.hard(outputs, batch.targets)
        return self.loss.soft(outputs, None, self._soft(batch, ())[0])

    def _soft(self, batch: Batch, names: Sequence[str]) -> tuple[list[Soft], list[torch.Tensor]]:
        """The teachers' answers, and what the named modules of the only one gave."""
        if names:
            given, heard = self._answering[0].hear(batch.inputs, names)
            return [Soft(given, *self._places[0])], heard
        answers = (one.answers(batch.rows, batch.inputs) for one in self._answering)
        return [Soft(given, *place) for given, place in zip(answers, self._places, strict=True)], []

    def _at_work(
        self,
        teacher: Teacher,
        sample: Dataset,
        positions: tuple[int, ...] | None,
        own: torch.Tensor,
        remembered: Pool | None,
    ) -> Answering:
        """Ready to be asked; a fixed one has been asked already for what is to be remembered."""
        if teacher.source is None:
            return self._average
        fixed = Fixed(teacher.source, sample, self._device, positions, self._output)
        _check_teacher(teacher, fixed, own)
        if remembered is not None:
            fixed.remember(remembered)
        return fixed

    def _classes(self, teacher: Teacher) -> torch.Tensor | None:
        return None if teacher.classes is None else torch.tensor(teacher.classes, device=self._device)

    def _features(self, pairs: dict[str, str], inputs: Tensors) -> Features | None:
        if not pairs:
            return None
        if len(self._answering) != 1:
            raise RequestError(
                f"features of {len(self._answering)} teachers", mend="name one teacher, or leave features out"
            )
        with torch.no_grad():
            own, theirs = (
                hear(self._student, inputs, [*pairs])[1],
                self._answering[0].hear(inputs, [*pairs.values()])[1],
            )
        return Features(pairs, own, theirs).to(self._device)


def _positions(pool: Pool) -> tuple[int, ...]:
    """The shape of a sample's targets; without targets, classes belong to whole samples."""
    return () if pool.labelled.targets is None else pool.labelled.targets.shape[1:]


def _check_targets(pool: Pool, loss: Loss, teachers: Sequence[Teacher]) -> None:
    if not teachers and (pool.labelled.targets is None or pool.unlabelled is not None):
        raise DataError("without a teacher nothing can be learned from samples without targets", mend="name a teacher")
    if pool.labelled.targets is None and loss.gamma < 1:
        raise DataError("the training data have no targets", mend="add them as the array `y`, or set gamma = 1")


def _check_teacher(teacher: Teacher, fixed: Fixed, own: torch.Tensor) -> None:
    wanted = (own.shape[1] if teacher.classes is None else len(teacher.classes), *own.shape[2:]) if own.ndim > 1 else ()
    if fixed.outputs != wanted:
        shown = " × ".join(map(str, fixed.outputs)) or "one"
        raise ModelError(
            f"the teacher gives {shown} outputs a sample, and {' × '.join(map(str, wanted)) or 'one'} are expected",
            mend="give a teacher of other classes `classes`: for each of its classes the student's",
        )
    if teacher.classes is not None and not set(teacher.classes) <= set(range(own.shape[1])):
        raise ModelError(f"classes = {list(teacher.classes)}", available=f"the student's: 0 … {own.shape[1] - 1}")
