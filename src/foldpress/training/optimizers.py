"""The optimizer and its schedule: the user's own, or AdamW under a warm-up and a cosine."""

import math
from typing import Any

import torch

from foldpress.callables import user_code
from foldpress.errors import ModelError
from foldpress.training.plan import Plan

_WARM_UP = 0.05  # of the steps


def make_optimizer(plan: Plan, parameters: list[torch.nn.Parameter]) -> torch.optim.Optimizer:
    """Over all that is learned.

    Raises:
        ModelError: the user's callable raised, or gave something else; or there is nothing to learn.
    """
    if not parameters:
        raise ModelError("the network has no parameter that can be trained")
    if plan.optimizer is None:
        return torch.optim.AdamW(parameters, lr=plan.learning_rate)
    with user_code("the optimizer"):
        return _checked(plan.optimizer(parameters), torch.optim.Optimizer, "optimizer")  # type: ignore[no-any-return]


def make_schedule(plan: Plan, optimizer: torch.optim.Optimizer, steps: int) -> torch.optim.lr_scheduler.LRScheduler:
    """Of the learning rate, over all steps.

    Raises:
        ModelError: the user's callable raised, or gave something else.
    """
    if plan.schedule is None:
        return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _warmed_cosine(step, steps))
    with user_code("the schedule"):
        kind = torch.optim.lr_scheduler.LRScheduler
        return _checked(plan.schedule(optimizer, steps), kind, "schedule")  # type: ignore[no-any-return]


def _warmed_cosine(step: int, steps: int) -> float:
    warm = max(1, round(_WARM_UP * steps))
    if step < warm:
        return (step + 1) / warm
    return (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm))) / 2


def _checked(made: Any, kind: type, what: str) -> Any:
    if not isinstance(made, kind):
        raise ModelError(f"the {what} is a {type(made).__name__}", available=f"a {kind.__module__}.{kind.__name__}")
    return made
