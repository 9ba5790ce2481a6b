"""Channel groups: which positions of which stored tensors must be cut together when channels go.

`follow` labels every position of every tensor, and unites the labels of positions that must go together. Classes of labels that
occur equally often in the same places are the channels of one group: so the channels of all blocks that are summed to one
residual stream, and the heads of one attention.
"""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import get_args

import numpy as np
import onnx_ir as ir

from foldpress.data import Indices
from foldpress.macs import MATRIX_OPERATORS
from foldpress.optimizer.branches import Branch, find_branch
from foldpress.optimizer.follow.following import Following, Role, Use, there, weight_inputs
from foldpress.optimizer.follow.labels import FIXED, Classes
from foldpress.optimizer.follow.walk import follow

NONE = -1


@dataclass(frozen=True, eq=False)
class Slot:
    """An input of a node that has channels along `axis`.

    `channels` says for every position which channel of the group it belongs to, −1 where it is none of the group's.
    """

    node: ir.Node
    position: int
    axis: int
    channels: Indices = field(default_factory=lambda: np.empty(0, np.intp))

    @property
    def value(self) -> ir.Value:
        """The tensor."""
        return there(self.node, self.position)

    def positions(self, channels: Indices) -> Indices:
        """Where the given channels lie along the axis."""
        return np.flatnonzero(np.isin(self.channels, channels))


@dataclass(eq=False)
class ChannelGroup:
    """Channels that live and die together.

    Args:
        name: of the layer that makes them, or the first of several.
        producers: the layers that make them.
        classes: of each channel, as `follow` numbers them.
        slots: stored tensors that hold them: to be cut.
        consumers: stored weights that sum over them: to be cut, and all that zero channels have to be zero in.
        meetings: inputs of products of two computed tensors that sum over them.
        works: inputs of such products that have the more to do, the more channels there are.
        depthwise: grouped convolutions, of which whole groups are cut.
        branches: what goes as well when no channel is left; empty where one has to stay.
    """

    name: str
    producers: list[ir.Node]
    classes: Indices
    slots: list[Slot] = field(default_factory=list)
    consumers: list[Slot] = field(default_factory=list)
    meetings: list[Slot] = field(default_factory=list)
    works: list[Slot] = field(default_factory=list)
    depthwise: list[ir.Node] = field(default_factory=list)
    branches: list[Branch] = field(default_factory=list)

    @property
    def least(self) -> int:
        """How many have to stay: none where the branches that they are all of may go."""
        return 0 if self.branches else 1

    @property
    def producer(self) -> ir.Node:
        """The first layer that makes them."""
        return self.producers[0]

    @property
    def channels(self) -> int:
        """How many there are."""
        return len(self.classes)

    @property
    def width(self) -> int:
        """How many positions one channel takes in the layer where it takes fewest: the size of a head."""
        layers = *filter(_makes, self.slots), *self.consumers, *self.meetings
        return min(int((slot.channels == 0).sum()) for slot in layers)


def find_groups(model: ir.Model) -> tuple[list[ChannelGroup], list[tuple[str, str]]]:
    """Groups in graph order, and for every layer that makes none of their channels its name and the reason."""
    following, classes = follow(model)
    groups = groups_of(following, classes)
    made = {node for group in groups for node in (*group.producers, *group.depthwise)}
    layers = [node for node in model.graph if node.op_type in MATRIX_OPERATORS and node not in made]
    return groups, [(str(node.name), _reason(node, [*following.uses.values()], classes)) for node in layers]


def groups_of(following: Following, classes: Classes) -> list[ChannelGroup]:
    """Groups in graph order, of what `follow` gave."""
    uses = [*following.uses.values()]
    groups = [_group(members, uses, following.works, following.whole, classes) for members in _alike(uses, classes)]
    groups = [group for group in groups if group.producers and (group.consumers or group.meetings)]
    order = {node: number for number, node in enumerate(following.model.graph)}
    groups.sort(key=lambda group: (order[group.producer], int(group.classes[0])))
    taken: Counter[str] = Counter()
    for group in groups:
        taken[group.name] += 1
        group.branches = _branches(following.model, group)
        group.name += f" ({taken[group.name]})" if taken[group.name] > 1 else ""
    return groups


def _alike(uses: list[Use], classes: Classes) -> list[Indices]:
    """Classes that can go, together where they occur equally often in every use."""
    places: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for number, use in enumerate(uses):
        for one, count in zip(*np.unique(classes.of[use.labels], return_counts=True), strict=True):
            if int(one) not in classes.frozen:
                places[int(one)].append((number, int(count)))
    alike = defaultdict(list)
    for one, signature in places.items():
        alike[tuple(signature)].append(one)
    return [np.array(sorted(members)) for members in alike.values() if len(members) > 1]


def _group(members: Indices, uses: list[Use], works: list[Use], whole: list[ir.Node], classes: Classes) -> ChannelGroup:
    found = {role: _slots([use for use in uses if use.role == role], members, classes) for role in get_args(Role)}
    slots, weights = found["holds"], found["consumes"]
    depthwise = [node for node in whole if any(slot.node is node for slot in slots)]
    producers = list(dict.fromkeys(slot.node for slot in slots if _makes(slot) and slot.node not in depthwise))
    name = str(producers[0].name) if producers else ""
    computed = [slot for slot in _slots(works, members, classes) if not weight_inputs(slot.node)]
    return ChannelGroup(name, producers, members, slots, weights, found["meets"], computed, depthwise)


def _branches(model: ir.Model, group: ChannelGroup) -> list[Branch]:
    """The branches that end where the channels are consumed, if nothing else comes in there or goes out."""
    whole = not group.meetings and all(slot.position == 1 and (slot.channels != NONE).all() for slot in group.consumers)
    found = [find_branch(model, slot.node) for slot in group.consumers] if whole else []
    return [branch for branch in found if branch is not None] if None not in found else []


def _makes(slot: Slot) -> bool:
    """Whether a slot is a layer's weight, or a table that is looked up."""
    return slot.position in weight_inputs(slot.node) or (slot.node.op_type == "Gather" and slot.position == 0)


def _slots(uses: list[Use], members: Indices, classes: Classes) -> list[Slot]:
    number = np.full(len(classes.of), NONE)
    number[members] = np.arange(len(members))
    slots = [Slot(use.node, use.position, use.axis, number[classes.of[use.labels]]) for use in uses]
    return [slot for slot in slots if (slot.channels != NONE).any()]


def _reason(node: ir.Node, uses: list[Use], classes: Classes) -> str:
    """Why none of the channels that a layer makes can go."""
    labels = [
        use.labels for use in uses if use.node is node and use.role == "holds" and use.position in weight_inputs(node)
    ]
    if not labels:
        return "its weight is computed, not stored"
    found = np.unique(classes.of[np.concatenate(labels)])
    reasons = [classes.frozen[int(one)] for one in found if int(one) in classes.frozen and one != classes.of[FIXED]]
    return reasons[0] if reasons else "no layer consumes its channels"
