"""Structured pruning: remove whole channels where they cost least, down to a budget, and repair what consumes them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir.passes.common import RemoveUnusedNodesPass, ShapeInferencePass

from foldpress.cost import graph_cost
from foldpress.data import Indices
from foldpress.errors import RequestError
from foldpress.optimizer.gram import MAX_FEATURES, features
from foldpress.optimizer.groups import ChannelGroup, Slot, find_groups
from foldpress.optimizer.passes import LogEntry, PassResult
from foldpress.optimizer.repair import Consumer, consumer, refit, removal_order
from foldpress.optimizer.shrink import forget_shapes, shrink

Budget = Literal["macs", "parameters", "bytes"]  # bytes of stored weights, before quantization

# Integer kernels step at multiples of 4 channels: removing fewer saves nothing.
_CHUNK = 4


@dataclass(eq=False)
class _Plan:
    """A group, the chunks of channels in the order they would go, and how many of them do."""

    group: ChannelGroup
    consumers: list[Consumer]
    order: list[tuple[Indices, float]]
    taken: int = 0

    def left(self, taken: int) -> float:
        return 1 - taken * _CHUNK / self.group.channels

    def error(self, taken: int) -> float:
        return self.order[taken - 1][1] if taken else 0.0

    def keep(self) -> Indices:
        gone = np.concatenate([np.empty(0, np.intp), *(channels for channels, _ in self.order[: self.taken])])
        return np.setdiff1d(np.arange(self.group.channels), gone)


class _Ledger:
    """What every layer costs when some of its inputs and outputs are gone."""

    def __init__(self, model: ir.Model, kind: Budget) -> None:
        layers = graph_cost(model).layers
        unknown = [layer.name for layer in layers if getattr(layer, kind) is None]
        if unknown:
            raise RequestError(f"the {kind} of {', '.join(unknown[:3])} are not known, so no budget can be kept")
        self.full = {layer.name: float(getattr(layer, kind)) for layer in layers}
        self.total = sum(self.full.values())

    def cost(self, plans: list[_Plan], moved: _Plan | None = None) -> float:
        """The total with each plan as it stands, and `moved` one chunk further."""
        share = dict.fromkeys(self.full, 1.0)
        for plan in plans:
            left = plan.left(plan.taken + (plan is moved))
            for node in {plan.group.producer, *plan.group.depthwise, *(slot.node for slot in plan.group.consumers)}:
                share[str(node.name)] *= left
        return sum(cost * share[name] for name, cost in self.full.items())


@dataclass(frozen=True)
class PruneStructured:
    """Remove channels until a share `budget` of the MACs, parameters or bytes is left.

    Args:
        kind: what the budget counts.
        budget: the share that is to be left, in (0, 1).
        grams: Gram matrix of each consuming layer's inputs, by the layer's name (`GramStatistics`).

    Raises:
        RequestError: the budget cannot be met; says the smallest that can.
    """

    kind: Budget
    budget: float
    grams: Mapping[str, NDArray[np.float64]]
    name: str = "prune-structured"

    def __call__(self, model: ir.Model) -> PassResult:
        """Choose, repair, remove; the log has one line for every layer, cut or not."""
        groups, declined = find_groups(model)
        log = [LogEntry(self.name, name, "declined", reason) for name, reason in declined]
        plans = [self._plan(model, group) for group in groups if too_wide(group) is None]
        log += [LogEntry(self.name, g.name, "declined", reason) for g in groups if (reason := too_wide(g)) is not None]
        self._allocate(plans, _Ledger(model, self.kind))
        for plan in plans:
            if plan.taken:
                for one in plan.consumers:
                    refit(model, one, plan.group, plan.keep())
            log.append(self._entry(plan))
        self._cut(model, {plan.group.name: plan for plan in plans if plan.taken})
        return PassResult(model, tuple(log))

    def _plan(self, model: ir.Model, group: ChannelGroup) -> _Plan:
        consumers = [consumer(model, slot, self.grams[str(slot.node.name)]) for slot in group.consumers]
        return _Plan(group, consumers, removal_order(consumers, group.channels, _CHUNK, _CHUNK))

    def _allocate(self, plans: list[_Plan], ledger: _Ledger) -> None:
        """Take the chunk with the least error for what it saves, until the budget is met."""
        now = ledger.cost(plans)
        while now > self.budget * ledger.total:
            open_plans = [plan for plan in plans if plan.taken < len(plan.order)]
            if not open_plans:
                raise RequestError(
                    f"{self.kind} = {self.budget} cannot be met: the layers that may be cut allow {now / ledger.total:.3f}",
                    mend=f"ask for {self.kind} = {min(0.99, now / ledger.total + 0.01):.2f} or more",
                )
            after = {id(plan): ledger.cost(plans, plan) for plan in open_plans}
            best = min(open_plans, key=lambda p: (p.error(p.taken + 1) - p.error(p.taken)) / (now - after[id(p)]))
            best.taken += 1
            now = after[id(best)]

    def _entry(self, plan: _Plan) -> LogEntry:
        if not plan.taken:
            return LogEntry(self.name, plan.group.name, "declined", "other layers give more for less error")
        left = plan.group.channels - plan.taken * _CHUNK
        detail = f"{plan.group.channels} → {left} channels; predicted error of what consumes them {plan.error(plan.taken):.2%}"
        return LogEntry(self.name, plan.group.name, "done", detail)

    def _cut(self, model: ir.Model, plans: Mapping[str, _Plan]) -> None:
        # Found anew: a refit may have given a layer a bias, which must be cut with its channels.
        for group in find_groups(model)[0]:
            if group.name in plans:
                shrink(model, group, plans[group.name].keep())
        forget_shapes(model)
        RemoveUnusedNodesPass()(model)
        ShapeInferencePass(data_prop=True)(model)


def too_wide(group: ChannelGroup) -> str | None:
    """Why a group's Gram matrices would not fit in memory, or None where they do."""
    widest = max(features(slot) for slot in group.consumers)
    if widest > MAX_FEATURES:
        return f"a consumer sums over {widest} features; at most {MAX_FEATURES} are repaired"
    return None


def layers_to_observe(model: ir.Model) -> list[Slot]:
    """The layers whose inputs' Gram matrices pruning needs, each once."""
    slots = [slot for group in find_groups(model)[0] if too_wide(group) is None for slot in group.consumers]
    return list({str(slot.node.name): slot for slot in slots}.values())
