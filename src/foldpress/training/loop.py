"""The loop: epochs over a pool of samples, the epoch that does best on samples held back, checkpoints."""

import copy
import logging
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from foldpress.callables import user_code
from foldpress.errors import DivergedError
from foldpress.progress import track
from foldpress.training.checkpoints import Checkpoint
from foldpress.training.library import load_library
from foldpress.training.objective import Objective
from foldpress.training.optimizers import make_optimizer, make_schedule
from foldpress.training.plan import Plan
from foldpress.training.record import Record, Trained
from foldpress.training.samples import Batch, Pool, hold_back, steps

_logger = logging.getLogger(__name__)

_MIXED_ON = ("cuda",)  # types of devices; a CPU gains nothing


class Constraint(Protocol):
    """What holds all through a training, such as masks: called before the first step and after every one."""

    def hold(self, step: int, steps: int) -> None:
        """Make it true again, after `step` of `steps`."""

    def final(self, step: int, steps: int) -> bool:
        """Whether the network is, by then, all that it is to be; before that, no epoch counts as the best."""


def train(
    module: torch.nn.Module,
    pool: Pool,
    prepare: Callable[[torch.nn.Module], Objective],
    plan: Plan,
    *,
    constraints: tuple[Constraint, ...] = (),
    checkpoint: Checkpoint | None = None,
    label: str = "training",
) -> Trained:
    """Train a module, in place, on a GPU where there is one.

    Args:
        module: its parametrizations (torch.nn.utils.parametrize), if it has any, are trained as they stand.
        pool: the samples, under the names of its inputs.
        prepare: gives the objective, once the module is where it is trained.
        plan: how long, how fast, from which seed.
        constraints: what is to hold after every step.
        checkpoint: where the state is kept after every epoch, and taken up again.
        label: what progress is called.

    Raises:
        DivergedError: the loss is no number any more.
        RequestError: the samples do not go with module or plan, or the user's code raised.
        MissingExtraError: the training library is not installed.
    """
    load_library()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with _reproducible(plan.seed):
        module = module.to(device).eval()
        loop = _Loop(module, pool, prepare(module), plan, constraints, device)
        return loop.run(checkpoint, label)


class _Loop:
    def __init__(self, module: torch.nn.Module, pool: Pool, objective: Objective, plan: Plan,
                 constraints: tuple[Constraint, ...], device: torch.device) -> None:  # fmt: skip
        self._module, self._pool, self._objective, self._plan = module, pool, objective, plan
        self._constraints, self._device = constraints, device
        self._rows, self._held = hold_back(pool, plan.held_back, plan.seed)
        self._steps = steps(len(self._rows), plan.batch)
        self.total = plan.epochs * self._steps
        self._record, self._sum = Record(), 0.0
        self._hold(0)
        self._engine = self._make_engine()
        objective.attach(self._engine)
        learned = [module, objective.features] if objective.features is not None else [module]
        parameters = [one for part in learned for one in part.parameters() if one.requires_grad]
        self._optimizer = make_optimizer(plan, parameters)
        self._schedule = make_schedule(plan, self._optimizer, self.total)
        self._mixed = plan.mixed and device.type in _MIXED_ON
        self._scaler = torch.amp.GradScaler(device.type, enabled=self._mixed)

    def run(self, checkpoint: Checkpoint | None, label: str) -> Trained:
        engine, events = self._engine, load_library().engine.Events
        if checkpoint is not None:
            if checkpoint.load(self._state()):
                _logger.info("%s: taken up after epoch %d", label, len(self._record.losses))
            engine.add_event_handler(events.EPOCH_COMPLETED, lambda: checkpoint.save(self._state()))
        ticks = _ticks(label, self.total)
        engine.add_event_handler(events.ITERATION_STARTED, lambda: next(ticks))
        try:
            if self._stopping is None or self._stopping.counter < self._stopping.patience:
                engine.run(_Epochs(self.batches), max_epochs=self._plan.epochs, epoch_length=self._steps)
        finally:
            ticks.close()
        return self._finished()

    def batches(self) -> Iterator[Batch]:
        """Of the present epoch, in random order."""
        generator = np.random.default_rng([self._plan.seed, self._engine.state.epoch])
        return self._pool.batches(self._rows[generator.permutation(len(self._rows))], self._plan.batch)

    def _make_engine(self) -> Any:
        library = load_library()
        engine = library.engine.Engine(self._step)
        engine.logger = _silent()  # it would tell every exception, Ctrl-C too, before it is told properly
        engine.add_event_handler(library.engine.Events.EPOCH_STARTED, self._begin_epoch)
        engine.add_event_handler(library.engine.Events.EPOCH_COMPLETED, self._end_epoch)
        self._stopping: Any = None
        if self._plan.patience is not None and len(self._held):
            score = lambda _: -self._record.losses[-1][1]  # noqa: E731
            self._stopping = library.handlers.EarlyStopping(self._plan.patience, score, engine)
            self._stopping.logger = _silent()
        return engine

    def _begin_epoch(self) -> None:
        """An epoch's random numbers depend on seed and number alone: so a training that is taken up goes on as it would have."""
        torch.manual_seed(int(np.random.default_rng([self._plan.seed, self._engine.state.epoch, 1]).integers(2**62)))
        self._module.train()
        self._sum = 0.0

    def _step(self, engine: Any, batch: Batch) -> float:
        batch = self._augmented(batch.to(self._device))
        with torch.autocast(self._device.type, torch.float16, enabled=self._mixed):
            loss = self._objective(batch)
        value = float(loss.detach())
        if not np.isfinite(value):
            raise self._diverged(value, f"in step {(engine.state.iteration - 1) % self._steps + 1} of {self._steps}")
        self._optimizer.zero_grad()
        torch.autograd.backward(self._scaler.scale(loss))
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self._schedule.step()
        self._hold(engine.state.iteration)
        self._sum += value
        return value

    def _augmented(self, batch: Batch) -> Batch:
        if self._plan.augment is None:
            return batch
        lone = next(iter(batch.inputs)) if len(batch.inputs) == 1 else None
        with user_code("augment"):
            made = self._plan.augment(batch.inputs[lone] if lone is not None else dict(batch.inputs))
        return Batch({lone: made} if lone is not None else made, batch.targets, batch.rows)

    def _hold(self, step: int) -> None:
        with torch.no_grad():
            for constraint in self._constraints:
                constraint.hold(step, self.total)

    def _end_epoch(self, engine: Any) -> None:
        held, record = self._judge(), self._record
        record.losses.append((self._sum / self._steps, held))
        _logger.info("epoch %d: loss %.4g, held back %.4g", engine.state.epoch, *record.losses[-1])
        if not all(constraint.final(engine.state.iteration, self.total) for constraint in self._constraints):
            return
        if held < record.loss or not len(self._held):
            weights = self._objective.result.state_dict()
            record.epoch, record.loss, record.weights = engine.state.epoch, held, copy.deepcopy(weights)
        if self._stopping is not None:
            self._stopping(engine)

    @torch.no_grad()
    def _judge(self) -> float:
        """The mean loss of what is held back, NaN where nothing is."""
        self._objective.result.eval()
        parts = self._pool.batches(self._held, self._plan.batch) if len(self._held) else ()
        sums = [len(part.rows) * float(self._objective.judge(part.to(self._device))) for part in parts]
        return sum(sums) / len(self._held) if sums else float("nan")

    def _finished(self) -> Trained:
        if not self._record.weights:
            raise self._diverged(self._record.losses[-1][1], "on what was held back, as in every epoch before")
        result = self._objective.result
        result.load_state_dict(self._record.weights)
        return Trained(result.cpu().eval(), self._record.epoch, self._record.losses)

    def _diverged(self, value: float, where: str) -> DivergedError:
        return DivergedError(
            f"training diverged: the loss is {value} in epoch {self._engine.state.epoch}, {where}",
            mend=f"a lower learning rate (it was {self._plan.learning_rate:g}), or look for nan in weights and data",
        )

    def _state(self) -> dict[str, Any]:
        """All that a training is taken up with."""
        found = {"module": self._module, "optimizer": self._optimizer, "schedule": self._schedule, "scaler": self._scaler,
                 "engine": self._engine, "record": self._record, **self._objective.state}  # fmt: skip
        return found if self._stopping is None else found | {"stopping": self._stopping}


@dataclass(frozen=True)
class _Epochs:
    """A fresh sequence of batches for every epoch."""

    batches: Callable[[], Iterator[Batch]]

    def __iter__(self) -> Iterator[Batch]:
        yield from self.batches()  # only when the first is asked for does the epoch's number stand


@contextmanager
def _reproducible(seed: int) -> Iterator[None]:
    """Random numbers from `seed`, whatever was drawn before, and sums in one order; afterwards PyTorch is as it was.

    Otherwise threads add up the gradients of shared values, and of all that indexing picks out, in the order in which they come.
    Where PyTorch knows no such way, it warns.
    """
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    with torch.random.fork_rng(), torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True):
        torch.manual_seed(seed)
        torch.use_deterministic_algorithms(True, warn_only=True)
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(before[0], warn_only=before[1])


def _ticks(label: str, total: int) -> Generator[int]:
    yield from track(range(total), label, total)


def _silent() -> logging.Logger:
    return logging.Logger("silent", logging.CRITICAL + 1)
