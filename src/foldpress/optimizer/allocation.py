"""How many channels each group loses: chunks of channels are taken where they cost the least error for what they save."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from foldpress.data import Indices
from foldpress.errors import RequestError
from foldpress.optimizer.groups import ChannelGroup
from foldpress.optimizer.repair import Consumer


@dataclass(eq=False)
class Plan:
    """A group, the chunks of as many channels each in the order they would go, and how many of them do.

    `influence` is the error of the network's outputs that comes with an error of 1 in the group's consumers; `branch` is that
    error where nothing of the group is left, if it has been measured by itself.
    """

    group: ChannelGroup
    consumers: list[Consumer]
    order: list[tuple[Indices, float]]
    taken: int = 0
    influence: float = 1.0
    branch: float | None = None

    def remaining(self, taken: int) -> int:
        """How many channels are left."""
        return self.group.channels - sum(len(chunk) for chunk, _ in self.order[:taken])

    def error(self, taken: int) -> float:
        """The error of the group's consumers, relative to their outputs."""
        return self.order[taken - 1][1] if taken else 0.0

    def loss(self, taken: int) -> float:
        """The error of the network's outputs."""
        if self.branch is not None and taken == len(self.order):
            return self.branch
        return self.influence * self.error(taken)

    def gone(self, taken: int | None = None) -> Indices:
        """The channels that go."""
        chunks = self.order[: self.taken if taken is None else taken]
        return np.concatenate([np.empty(0, np.intp), *(channels for channels, _ in chunks)])

    def keep(self, taken: int | None = None) -> Indices:
        """The channels that stay."""
        return np.setdiff1d(np.arange(self.group.channels), self.gone(taken))


class Ledger(Protocol):
    """A cost that pruning is to bring down; `kind` is its name in messages, `total` that of the whole network."""

    kind: str
    total: float

    def cost(self, plans: Sequence[Plan]) -> float:
        """The cost with each plan as it stands."""


class BudgetError(RequestError):
    """A budget below what can be reached; `least` is the smallest share that can, `table` that of the recipe that asks."""

    def __init__(
        self,
        kind: str,
        budget: float,
        least: float,
        why: str = "the layers that may be cut allow",
        table: str = "prune",
    ) -> None:
        self.least = least
        reachable = math.ceil(100 * least + 0.5) / 100
        mend = f"ask for {kind} = {reachable:.2f} or more" if reachable < 1 else f"leave [{table}] out"
        super().__init__(f"{kind} = {budget:g} cannot be met: {why} {least:.3f}", mend=mend)


def allocate(plans: Sequence[Plan], ledger: Ledger, budget: float) -> None:
    """Take the chunk with the least error for what it saves, until a share `budget` of the total is left.

    The last one may save more than is needed: then chunks that cost more error are given back, as far as the budget allows.

    Raises:
        BudgetError: says the smallest budget that can be met.
    """
    now = ledger.cost(plans)
    while now > budget * ledger.total:
        open_plans = [plan for plan in plans if plan.taken < len(plan.order)]
        if not open_plans:
            raise BudgetError(ledger.kind, budget, now / ledger.total)
        after = [_cost_after(plans, ledger, plan, 1) for plan in open_plans]
        rates = [
            _loss(plan) / (now - cost) if cost < now else math.inf for plan, cost in zip(open_plans, after, strict=True)
        ]
        best = int(np.argmin(rates))
        open_plans[best].taken += 1
        now = after[best]
    _give_back(plans, ledger, budget)


def _cost_after(plans: Sequence[Plan], ledger: Ledger, plan: Plan, more: int) -> float:
    """What all costs when one plan goes so many chunks further, or less far."""
    plan.taken += more
    cost = ledger.cost(plans)
    plan.taken -= more
    return cost


def _give_back(plans: Sequence[Plan], ledger: Ledger, budget: float) -> None:
    """Undo last chunks, the ones with the most error first."""
    for plan in sorted(plans, key=_last_loss, reverse=True):
        if plan.taken and _cost_after(plans, ledger, plan, -1) <= budget * ledger.total:
            plan.taken -= 1


def _last_loss(plan: Plan) -> float:
    return plan.loss(plan.taken) - plan.loss(plan.taken - 1) if plan.taken else 0.0


def _loss(plan: Plan) -> float:
    return plan.loss(plan.taken + 1) - plan.loss(plan.taken)
