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

    `influence` is the error of the network's outputs that comes with an error of 1 in the group's consumers.
    """

    group: ChannelGroup
    consumers: list[Consumer]
    order: list[tuple[Indices, float]]
    taken: int = 0
    influence: float = 1.0

    def remaining(self, taken: int) -> int:
        """How many channels are left."""
        return self.group.channels - sum(len(chunk) for chunk, _ in self.order[:taken])

    def error(self, taken: int) -> float:
        """The error of the group's consumers, relative to their outputs."""
        return self.order[taken - 1][1] if taken else 0.0

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

    def further(self, plan: Plan) -> Sequence[int]:
        """How many chunks may be gone after the next move, each number saving something; none where all is taken."""

    def before(self, plan: Plan) -> int:
        """How many are gone once the last move is given back."""


class BudgetError(RequestError):
    """A budget below what can be reached; `least` is the smallest share that can."""

    def __init__(self, kind: str, budget: float, least: float, why: str = "the layers that may be cut allow") -> None:
        self.least = least
        reachable = math.ceil(100 * least + 0.5) / 100
        mend = f"ask for {kind} = {reachable:.2f} or more" if reachable < 1 else "leave [prune] out"
        super().__init__(f"{kind} = {budget:g} cannot be met: {why} {least:.3f}", mend=mend)


def allocate(plans: Sequence[Plan], ledger: Ledger, budget: float) -> None:
    """Take the chunks with the least error for what they save, until a share `budget` of the total is left.

    The last ones may save more than is needed: then chunks that cost more error are given back, as far as the budget allows.

    Raises:
        BudgetError: says the smallest budget that can be met.
    """
    now = ledger.cost(plans)
    while now > budget * ledger.total:
        moves = [(plan, taken) for plan in plans for taken in ledger.further(plan)]
        if not moves:
            raise BudgetError(ledger.kind, budget, now / ledger.total)
        after = [_cost_after(plans, ledger, *move) for move in moves]
        rates = [
            _loss(*move) / (now - cost) if cost < now else math.inf for move, cost in zip(moves, after, strict=True)
        ]
        best = int(np.argmin(rates))
        moves[best][0].taken, now = moves[best][1], after[best]
    _give_back(plans, ledger, budget)


def _cost_after(plans: Sequence[Plan], ledger: Ledger, plan: Plan, taken: int) -> float:
    before, plan.taken = plan.taken, taken
    cost = ledger.cost(plans)
    plan.taken = before
    return cost


def _give_back(plans: Sequence[Plan], ledger: Ledger, budget: float) -> None:
    """Undo last moves, the ones with the most error first."""
    cut = [plan for plan in plans if plan.taken]
    for plan in sorted(cut, key=lambda plan: _loss(plan, ledger.before(plan))):
        before = ledger.before(plan)
        if _cost_after(plans, ledger, plan, before) <= budget * ledger.total:
            plan.taken = before


def _loss(plan: Plan, taken: int) -> float:
    """What is lost when a plan goes from where it stands to `taken` chunks."""
    return plan.influence * (plan.error(taken) - plan.error(plan.taken))
