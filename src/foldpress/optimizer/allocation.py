"""How many channels each group loses: chunks of channels are taken where they cost the least error for what they save."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import onnx_ir as ir

from foldpress.cost import graph_cost
from foldpress.data import Indices
from foldpress.errors import RequestError
from foldpress.optimizer.groups import ChannelGroup
from foldpress.optimizer.repair import Consumer
from foldpress.optimizer.shares import LayerShares

Budget = Literal["macs", "parameters", "bytes"]  # bytes of stored weights, before quantization


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


class Ledger:
    """What every layer costs when some of its inputs and outputs are gone."""

    def __init__(self, model: ir.Model, kind: Budget, groups: list[ChannelGroup]) -> None:
        layers = graph_cost(model).layers
        unknown = [layer.name for layer in layers if getattr(layer, kind) is None]
        if unknown:
            raise RequestError(f"the {kind} of {', '.join(unknown[:3])} are not known, so no budget can be kept")
        self.kind = kind
        self.full = {layer.name: float(getattr(layer, kind)) for layer in layers}
        self.total = sum(self.full.values())
        self._shares = LayerShares(groups)

    def cost(self, plans: list[Plan], moved: Plan | None = None) -> float:
        """The total with each plan as it stands, and `moved` one chunk further."""
        gone = {plan.group.name: len(plan.gone(plan.taken + (plan is moved))) for plan in plans}
        share = self._shares(gone)
        return sum(cost * share.get(name, 1.0) for name, cost in self.full.items())


def allocate(plans: list[Plan], ledger: Ledger, budget: float) -> None:
    """Take the chunk with the least error for what it saves, until a share `budget` of the total is left.

    The last one may save more than is needed: then chunks that cost more error are given back, as far as the budget allows.

    Raises:
        RequestError: the budget cannot be met; says the smallest that can.
    """
    now = ledger.cost(plans)
    while now > budget * ledger.total:
        open_plans = [plan for plan in plans if plan.taken < len(plan.order)]
        if not open_plans:
            raise RequestError(
                f"{ledger.kind} = {budget} cannot be met: the layers that may be cut allow {now / ledger.total:.3f}",
                mend=f"ask for {ledger.kind} = {min(0.99, now / ledger.total + 0.01):.2f} or more",
            )
        after = {id(plan): ledger.cost(plans, plan) for plan in open_plans}
        best = min(open_plans, key=lambda p: _loss(p) / (now - after[id(p)]))
        best.taken += 1
        now = after[id(best)]
    _give_back(plans, ledger, budget)


def _give_back(plans: list[Plan], ledger: Ledger, budget: float) -> None:
    """Undo last chunks, the ones with the most error first."""
    for plan in sorted(plans, key=_last_loss, reverse=True):
        if plan.taken:
            plan.taken -= 1
            if ledger.cost(plans) > budget * ledger.total:
                plan.taken += 1


def _last_loss(plan: Plan) -> float:
    return plan.influence * (plan.error(plan.taken) - plan.error(plan.taken - 1)) if plan.taken else 0.0


def _loss(plan: Plan) -> float:
    return plan.influence * (plan.error(plan.taken + 1) - plan.error(plan.taken))
