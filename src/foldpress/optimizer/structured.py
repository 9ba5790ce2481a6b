"""Structured pruning: remove whole channels where they cost least, down to a budget, and repair what consumes them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir.passes.common import RemoveUnusedNodesPass, ShapeInferencePass

from foldpress.data import Dataset
from foldpress.errors import RequestError
from foldpress.graph import copy_graph
from foldpress.optimizer.allocation import Ledger, Plan, allocate
from foldpress.optimizer.gram import MAX_FEATURES, features
from foldpress.optimizer.groups import ChannelGroup, Slot, find_groups
from foldpress.optimizer.influence import measure_influence
from foldpress.optimizer.ledger import Budget, CountLedger, Latencies, LatencyLedger, layers_of
from foldpress.optimizer.passes import LogEntry, PassResult
from foldpress.optimizer.reconstruction import reconstruct
from foldpress.optimizer.repair import consumer, refit, removal_order
from foldpress.optimizer.shrink import forget_shapes, shrink


@dataclass(frozen=True)
class PruneStructured:
    """Remove channels until a share `budget` of the MACs, parameters, bytes or time is left.

    Args:
        kind: what the budget counts.
        budget: the share that is to be left, in (0, 1).
        grams: Gram matrix of each consuming layer's inputs, by the layer's name (`GramStatistics`).
        samples: those that `grams` sums over; labels are not read.
        multiple: channels go by so many at a time. Integer kernels step at multiples of 4: removing fewer saves no time.
        latencies: measured for this network; with a budget of time.
        protect: names of layers whose inputs and outputs all stay.
        repair: whether layers make up for what is gone; without, the graph is good for timing alone.

    Raises:
        RequestError: the budget cannot be met (says the smallest that can), or there is no layer of a protected name.
    """

    kind: Budget
    budget: float
    grams: Mapping[str, NDArray[np.float64]]
    samples: Dataset
    multiple: int = 4
    latencies: Latencies | None = None
    protect: tuple[str, ...] = ()
    repair: bool = True
    name: str = "prune-structured"

    def __call__(self, model: ir.Model) -> PassResult:
        """Choose, repair, remove; the log has one line for every layer, cut or not."""
        groups, declined = prunable(model, self.protect)
        log = [LogEntry(self.name, name, "declined", reason) for name, reason in declined]
        plans = [self._plan(model, group) for group in groups]
        measure_influence(model, plans, self.samples, 1 - self.budget)
        allocate(plans, self._ledger(model, groups), self.budget)
        if self.repair:
            self._repair(model, [plan for plan in plans if plan.taken])
        self._cut(model, {plan.group.name: plan for plan in plans if plan.taken})
        return PassResult(model, (*log, *map(self._entry, plans)))

    def _plan(self, model: ir.Model, group: ChannelGroup) -> Plan:
        consumers = [consumer(model, slot, self.grams[str(slot.node.name)]) for slot in group.consumers]
        return Plan(group, consumers, removal_order(consumers, group.channels, self.multiple, self.multiple))

    def _ledger(self, model: ir.Model, groups: Sequence[ChannelGroup]) -> Ledger:
        if self.kind != "latency":
            return CountLedger(model, self.kind)
        if self.latencies is None:
            raise RequestError("a budget of time needs measured latencies", mend="foldpress run, or foldpress prune")
        return LatencyLedger(model, groups, self.latencies)

    def _repair(self, model: ir.Model, plans: list[Plan]) -> None:
        """First every consumer by itself; then all that is behind a cut, for what the cuts do together."""
        original = copy_graph(model)
        kept = {}
        for plan in plans:
            for one in plan.consumers:
                refit(model, one, plan.group, plan.keep())
                kept[str(one.slot.node.name)] = one.columns(plan.keep(), plan.group.channels).ravel()
        reconstruct(original, model, kept, self.samples)

    def _entry(self, plan: Plan) -> LogEntry:
        if not plan.taken:
            return LogEntry(self.name, plan.group.name, "declined", "other layers give more for less error")
        left, error = len(plan.keep()), plan.error(plan.taken)
        detail = f"{plan.group.channels} → {left} channels; predicted error of what consumes them {error:.2%}"
        return LogEntry(self.name, plan.group.name, "done", detail)

    def _cut(self, model: ir.Model, plans: Mapping[str, Plan]) -> None:
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


def prunable(model: ir.Model, protect: Sequence[str] = ()) -> tuple[list[ChannelGroup], list[tuple[str, str]]]:
    """Groups that may be cut, and for every other layer that makes channels its name and the reason why it is not.

    Raises:
        RequestError: `protect` names a layer that there is not.
    """
    groups, declined = find_groups(model)
    layers = sorted({*(name for name, _ in declined), *(name for group in groups for name in layers_of(group))})
    if unknown := sorted(set(protect) - set(layers)):
        raise RequestError(f"protect: there is no layer {', '.join(unknown)}", available=", ".join(layers))
    reasons = {group.name: _protected(group, protect) or too_wide(group) for group in groups}
    declined += [(name, reason) for name, reason in reasons.items() if reason is not None]
    return [group for group in groups if reasons[group.name] is None], declined


def _protected(group: ChannelGroup, protect: Sequence[str]) -> str | None:
    asked = sorted(layers_of(group) & set(protect))
    return f"{', '.join(asked)} is to stay as it is" if asked else None


def layers_to_observe(model: ir.Model, protect: Sequence[str] = ()) -> list[Slot]:
    """The layers whose inputs' Gram matrices pruning needs, each once; for `protect` see `prunable`."""
    slots = [slot for group in prunable(model, protect)[0] for slot in group.consumers]
    return list({str(slot.node.name): slot for slot in slots}.values())
