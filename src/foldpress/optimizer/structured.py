"""Structured pruning: remove whole channels where they cost least, down to a budget, and repair what consumes them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from foldpress.data import Dataset
from foldpress.errors import RequestError
from foldpress.graph import copy_graph
from foldpress.optimizer.allocation import Plan, allocate
from foldpress.optimizer.gates import with_gates
from foldpress.optimizer.gram import MAX_FEATURES, features, has_gram
from foldpress.optimizer.groups import ChannelGroup, Slot, find_groups
from foldpress.optimizer.hiding import hide
from foldpress.optimizer.influence import measure_influence
from foldpress.optimizer.knapsack import allocate_time
from foldpress.optimizer.ledger import Budget, CountLedger, Latencies, LatencyLedger, layers_of
from foldpress.optimizer.masks import Masks
from foldpress.optimizer.passes import LogEntry, PassResult
from foldpress.optimizer.proof import prove_equal
from foldpress.optimizer.repair import Consumer, consumer, removal_order
from foldpress.optimizer.scores import Score, channel_costs, order_of, possible_score, score_note
from foldpress.optimizer.shrink import shrink


@dataclass(frozen=True)
class PruneStructured:
    """Remove channels until a share `budget` of the MACs, parameters, bytes or time is left.

    Args:
        kind: what the budget counts.
        budget: the share that is to be left, in (0, 1).
        grams: Gram matrix of each consuming layer's inputs, by the layer's name (`GramStatistics`).
        samples: those that `grams` sums over; labels are not read.
        multiple: channels go by so many at a time. Integer kernels step at multiples of 4: removing fewer saves no time.
        score: the order in which channels of a group go, see `scores`.
        latencies: measured for this network; with a budget of time.
        protect: names of layers whose inputs and outputs all stay.
        plans: what `price` gave for the same network, so that it is not measured again.

    Raises:
        RequestError: the budget cannot be met (says the smallest that can), or there is no layer of a protected name.
    """

    kind: Budget
    budget: float
    grams: Mapping[str, NDArray[np.float64]]
    samples: Dataset
    multiple: int = 4
    score: Score = "obs"
    latencies: Latencies | None = None
    protect: tuple[str, ...] = ()
    plans: Sequence[Plan] | None = None
    name: str = "prune-structured"

    def __call__(self, model: ir.Model) -> PassResult:
        """Choose, repair, remove; the log has one line for every layer, cut or not."""
        masks, log = self.mask(model)
        return PassResult(cut(model, masks, self.samples), log)

    def mask(self, model: ir.Model) -> tuple[Masks, tuple[LogEntry, ...]]:
        """Choose, hide and repair, in place; nothing is removed yet."""
        log = [LogEntry(self.name, name, "declined", reason) for name, reason in prunable(model, self.protect)[1]]
        plans = self.decide(model)
        taken = [plan for plan in plans if plan.taken]
        hide(model, taken, self.samples)
        masks = Masks({plan.group.name: plan.keep() for plan in taken})
        return masks, (*log, *(entry for plan in plans for entry in self._entries(plan)))

    def decide(self, model: ir.Model) -> list[Plan]:
        """What of each group goes, and in which order it would."""
        groups, _ = prunable(model, self.protect)
        plans = [*self.plans] if self.plans is not None else self.price(model)
        if self.kind != "latency":
            allocate(plans, CountLedger(model, self.kind, groups), self.budget)
        elif self.latencies is not None:
            allocate_time(plans, LatencyLedger(model, groups, self.latencies), self.budget)
        else:
            raise RequestError("a budget of time needs measured latencies", mend="foldpress run, or foldpress prune")
        return plans

    def price(self, model: ir.Model) -> list[Plan]:
        """What it costs to take more and more of each group; the same for all budgets of time."""
        plans = self._plans(model, prunable(model, self.protect)[0])
        timed = self.kind == "latency"
        measure_influence(model, plans, self.samples, 0 if timed else 1 - self.budget, branches=timed)
        return plans

    def _plans(self, model: ir.Model, groups: list[ChannelGroup]) -> list[Plan]:
        shown = with_gates(model)
        found = {group.name: [*filter(has_gram, group.consumers)] for group in find_groups(shown)[0]}
        slots = {str(slot.node.name): slot for group in groups for slot in found[group.name]}
        problems = {name: consumer(shown, slot, self.grams[name]) for name, slot in slots.items()}
        return [
            self._plan(model, group, [replace(problems[str(slot.node.name)], slot=slot) for slot in found[group.name]])
            for group in groups
        ]

    def _plan(self, model: ir.Model, group: ChannelGroup, consumers: list[Consumer]) -> Plan:
        chunk = -(-self.multiple // group.width)
        score = possible_score(group, self.score)
        least = chunk if group.least else 0
        if score == "obs":
            return Plan(group, consumers, removal_order(consumers, group.channels, chunk, least))
        return Plan(group, consumers, order_of(channel_costs(model, group, consumers, score), chunk, least))

    def _entries(self, plan: Plan) -> list[LogEntry]:
        """One for every layer that makes the channels."""
        group, left = plan.group, len(plan.keep())
        if not plan.taken:
            return [
                LogEntry(self.name, name, "declined", "other layers give more for less error")
                for name in _layers(group)
            ]
        others = f" of {len(group.producers)} layers together" if len(group.producers) > 1 else ""
        note = score_note(self.score, possible_score(group, self.score))
        detail = f"{group.channels} → {left} channels{others}; predicted error of what consumes them {plan.error(plan.taken):.2%}"
        return [LogEntry(self.name, name, "done", detail + note) for name in _layers(group)]


def cut(model: ir.Model, masks: Masks, samples: Dataset) -> ir.Model:
    """A copy without the channels that `masks` leave out, proven equal to `model`, where nothing sees them, on `samples`.

    Raises:
        GraphError: it is not equal.
    """
    shrunk = copy_graph(model)
    shrink(shrunk, masks)
    prove_equal(model, shrunk, samples)
    return shrunk


def _layers(group: ChannelGroup) -> list[str]:
    return [str(node.name) for node in dict.fromkeys((*group.producers, *group.depthwise))]


def too_wide(group: ChannelGroup) -> str | None:
    """Why a group's Gram matrices would not fit in memory, or None where they do."""
    widest = max((features(slot) for slot in group.consumers if has_gram(slot)), default=0)
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
    for group in groups:
        if (reason := reasons[group.name]) is not None:
            declined += [(name, reason) for name in _layers(group)]
    return [group for group in groups if reasons[group.name] is None], declined


def _protected(group: ChannelGroup, protect: Sequence[str]) -> str | None:
    asked = sorted(layers_of(group) & set(protect))
    return f"{', '.join(asked)} is to stay as it is" if asked else None


def layers_to_observe(model: ir.Model, protect: Sequence[str] = ()) -> list[Slot]:
    """The layers whose inputs' Gram matrices pruning needs, each once; for `protect` see `prunable`."""
    slots = [slot for group in prunable(model, protect)[0] for slot in group.consumers if has_gram(slot)]
    return list({str(slot.node.name): slot for slot in slots}.values())
