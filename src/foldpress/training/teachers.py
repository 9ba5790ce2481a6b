"""Who is listened to: a fixed module, a fixed ONNX graph, or the student's own moving average."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import onnx_ir as ir
import torch

from foldpress.data import Array, Dataset, Indices, fit_inputs
from foldpress.errors import RequestError
from foldpress.exporter.source import as_tensors, fit_names
from foldpress.graph import batch_size, input_specs
from foldpress.progress import track
from foldpress.runtime import open_session, run
from foldpress.training.hearing import hear, output_at
from foldpress.training.library import load_library
from foldpress.training.samples import Pool, Tensors
from foldpress.training.scores import Scores, scores_of

_ROWS = 256  # that a fixed teacher is asked at once
_FLOAT32 = 4  # bytes of an answer
_REMEMBERED = 2**29  # bytes of answers that are kept at most; beyond, a teacher is asked again for every batch


@dataclass(frozen=True, eq=False)
class Teacher:
    """A teacher of a student, and what is made of it.

    Args:
        source: a module, a float graph, or None for the student's own moving average.
        weight: beside other teachers.
        classes: the student's class for each of the teacher's; None where they are the same.
    """

    source: torch.nn.Module | ir.Model | None
    weight: float = 1.0
    classes: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if not 0 < self.weight < float("inf"):
            raise RequestError(f"a teacher's weight is {self.weight}", available="above 0")


class Answering(Protocol):
    """A teacher at work."""

    def answers(self, rows: Indices, inputs: Tensors) -> torch.Tensor:
        """What it says to these rows of the pool, float32: logits [n, c, …] for classes, numbers [n, …]."""

    def hear(self, inputs: Tensors, names: Sequence[str]) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """The same, and what its modules of these names gave."""


class Average:
    """The student's own earlier states, as their moving average (mean teacher: Tarvainen and Valpola 2017, arXiv:1703.01780).

    Until it is attached to a training, it is the student.

    Args:
        student: whose states are averaged.
        decay: what is left of the average after a step, above 0 and below 1.
        scores: how the student's output is read.
        output: position of the output that is learned.
    """

    def __init__(self, student: torch.nn.Module, decay: float, scores: Scores, output: int = 0) -> None:
        if not 0 < decay < 1:
            raise RequestError(f"decay = {decay}", available="above 0, below 1")
        self.module, self._decay, self._scores, self._output = student, decay, scores, output

    def attach(self, engine: Any) -> None:
        """Follow the student from now on, after every step; at first it is the mean of all states so far."""
        library = load_library()
        handler = library.handlers.EMAHandler(self.module, 1 - self._decay, handle_buffers="update")

        def ramp_up() -> None:
            engine.state.ema_momentum = max(1 - self._decay, 1 / (engine.state.iteration + 1))

        engine.add_event_handler(library.engine.Events.ITERATION_STARTED, ramp_up)
        handler.attach(engine)
        self.module = handler.ema_model

    def answers(self, rows: Indices, inputs: Tensors) -> torch.Tensor:  # noqa: ARG002  # nothing is remembered
        """See `Answering`."""
        return self.hear(inputs, ())[0]

    @torch.no_grad()
    def hear(self, inputs: Tensors, names: Sequence[str]) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """See `Answering`."""
        outputs, heard = hear(self.module, inputs, names, self._output)
        return self._scores(outputs), heard


class Fixed:
    """A module or a graph that does not change, and what it said of samples that do not change either.

    Args:
        source: a module or a graph.
        sample: some samples under the student's names, to find out how the teacher calls its inputs.
        device: where the student is.
        positions: the shape of a sample's targets where they are classes, None where they are numbers.
        output: position of the output that is learned; of a teacher with one, that one.

    Raises:
        ModelError: it gives no scores of classes, or has no such output.
    """

    def __init__(
        self,
        source: torch.nn.Module | ir.Model,
        sample: Dataset,
        device: torch.device,
        positions: tuple[int, ...] | None,
        output: int = 0,
    ) -> None:
        self._source, self._device, self._output = source, device, output
        self._remembered: Array | None = None
        if isinstance(source, torch.nn.Module):
            source.eval().to(device)
            fitted, self._size = fit_names(source, sample), _ROWS
        else:
            fitted, self._size = fit_inputs(sample, input_specs(source)), batch_size(source)
            self._session = open_session(source)
        lone = len(sample.inputs) == 1  # else both sides use the same names
        self._names = dict(zip(sample.inputs, fitted.inputs, strict=True)) if lone else {}
        first = self._run(as_tensors(sample.batch(slice(None))))
        self._scores = Scores() if positions is None else scores_of(first, positions, whose="the teacher")
        self.outputs = tuple(self._scores(first).shape[1:])

    def remember(self, pool: Pool) -> None:
        """Ask it once for every sample of the pool, where memory holds the answers."""
        if len(pool) * math.prod(self.outputs) * _FLOAT32 > _REMEMBERED:
            return
        parts = np.array_split(np.arange(len(pool)), -(-len(pool) // _ROWS))
        asked = track(parts, "asking the teacher", len(parts))
        self._remembered = np.concatenate(
            [self._logits(self._run(pool.batch(rows).inputs)).cpu().numpy() for rows in asked]
        )

    def answers(self, rows: Indices, inputs: Tensors) -> torch.Tensor:
        """See `Answering`."""
        if self._remembered is None:
            return self._logits(self._run(inputs))
        return torch.from_numpy(self._remembered[rows]).to(self._device)

    @torch.no_grad()
    def hear(self, inputs: Tensors, names: Sequence[str]) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """See `Answering`; for modules alone."""
        if not isinstance(self._source, torch.nn.Module):
            raise RequestError(
                "an ONNX graph has no modules whose features could be compared", mend="leave features out"
            )
        outputs, heard = hear(self._source, self._renamed(inputs), names, self._output)
        return self._logits(outputs), heard

    def _renamed(self, inputs: Tensors) -> Tensors:
        return {self._names.get(name, name): tensor.to(self._device) for name, tensor in inputs.items()}

    def _logits(self, outputs: torch.Tensor) -> torch.Tensor:
        return self._scores(outputs.float())

    @torch.no_grad()
    def _run(self, inputs: Tensors) -> torch.Tensor:
        if isinstance(self._source, torch.nn.Module):
            return hear(self._source, self._renamed(inputs), output=self._output)[0]
        arrays = {name: tensor.cpu().numpy() for name, tensor in self._renamed(inputs).items()}
        starts = range(0, len(next(iter(arrays.values()))), self._size)
        parts = (run(self._session, {name: one[i : i + self._size] for name, one in arrays.items()}) for i in starts)
        return torch.from_numpy(np.concatenate([output_at(self._output, part) for part in parts])).to(self._device)
