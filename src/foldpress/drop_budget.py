"""Pruning or factorization to a largest drop: the smallest share of the MACs that loses no more, on samples that it has not seen.

The samples that a round may look at are divided in two. The network is pruned by one half and scored on the other, and the
other way round, so every sample is scored once; the share is found by bisection. Neither the test split nor the fold
that a round is judged on is looked at, so each round has a share of its own.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

from foldpress.benchmark.scoring import Task
from foldpress.data import Array, Dataset
from foldpress.errors import RequestError
from foldpress.graph import batch_size
from foldpress.optimizer.allocation import BudgetError
from foldpress.optimizer.passes import LogEntry
from foldpress.optimizer.press import Press
from foldpress.runtime import open_session, predict

_SHARES = tuple(share / 100 for share in range(95, 9, -5))  # of the MACs; finer steps differ by less than chance does
_NAME = "max-drop"

Stage = Literal["prune", "factorize"]

# Sum of what each sample loses: from samples, the baseline's outputs and those of the pruned network.
Loss = Callable[[Dataset, list[Array], list[Array]], float]


@dataclass(frozen=True)
class Found:
    """A share of the MACs, and the path of the search."""

    share: float
    log: tuple[LogEntry, ...]


def loss_of(task: Task) -> Loss:
    """Scores lost against the targets or, where there are none, against what the baseline predicts."""

    def loss(samples: Dataset, baseline: list[Array], outputs: list[Array]) -> float:
        baseline, outputs = task.of(baseline), task.of(outputs)
        targets = samples.y if samples.targets is not None else task.predict(baseline)
        return float((task.score(targets, baseline) - task.score(targets, outputs)).sum())

    return loss


def meet_drop(press: Press, loss: Loss, fold: int | None = None, repeat: int = 0, *, stage: Stage = "prune") -> Found:
    """The smallest share of the MACs at which samples that a stage has not seen lose at most `max_drop` by it on average.

    Args:
        press: what it asks of the stage has a largest drop; the stages before it are settled.
        loss: what is lost on some samples.
        stage: pruning, or factorization of what pruning has left.
        fold: the one that is to be judged, which is left out; None for the graph that ships.
        repeat: that the fold belongs to.

    Raises:
        RequestError: even the largest share loses more; says how much.
    """
    asked = getattr(press, stage)
    halves = press.halves(fold, repeat)
    halves.collect()  # each share has a press of its own, which takes over what this one has collected
    judge = "for the graph that ships" if fold is None else f"without fold {fold}"
    good, bad, drop_at, log = -1, len(_SHARES), {}, []
    while bad - good > 1:
        middle = (good + bad) // 2
        drop = drop_at[middle] = _drop(asking(halves, stage, macs=_SHARES[middle], max_drop=None), loss, stage)
        fits = drop is not None and drop <= asked.max_drop
        good, bad = (middle, bad) if fits else (good, middle)
        log.append(LogEntry(_NAME, judge, "done" if fits else "declined", _told(_SHARES[middle], drop)))
    if good < 0:
        least = drop_at[0]
        raise RequestError(
            f"max_drop = {asked.max_drop:g} cannot be met: {_told(_SHARES[0], least)}",
            mend=f"leave [{stage}] out" if least is None else f"ask for max_drop = {least + 5e-4:.3f} or more",
        )
    return Found(_SHARES[good], tuple(log))


def asking(press: Press, stage: Stage, **changes: Any) -> Press:
    """The same press with changes to what it asks of a stage; factorization, which comes last, is left out for pruning."""
    if stage == "prune":
        assert press.prune is not None  # noqa: S101  # it is what the caller asks for
        return press.factorizing(None).pruning(replace(press.prune, **changes))
    assert press.factorize is not None  # noqa: S101
    return press.factorizing(replace(press.factorize, **changes))


def _drop(halves: Press, loss: Loss, stage: Stage) -> float | None:
    """What is lost on average by halves that were not seen; None where so much cannot be cut."""
    total, count = 0.0, 0
    for half in (0, 1):
        try:
            made = halves.without(half)
        except BudgetError:
            return None
        graphs = (made.pruned if stage == "factorize" else None) or halves.model, made.floating or halves.model
        unseen = halves.held_out(half)
        both = [predict(open_session(graph), unseen, batch_size(halves.model)) for graph in graphs]
        total, count = total + loss(unseen, *both), count + len(unseen)
    return total / count


def _told(share: float, drop: float | None) -> str:
    lost = "the layers cannot be cut so far" if drop is None else f"samples that were not seen lose {drop:.4f}"
    return f"with {share:.2f} of the MACs left, {lost}"
