"""Surgery: remove the channels that masks leave out from every tensor that holds them."""

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from foldpress.contrib import infer_shapes
from foldpress.errors import RequestError
from foldpress.optimizer.branches import Branch
from foldpress.optimizer.follow.following import Cut, cut_stored
from foldpress.optimizer.follow.walk import follow
from foldpress.optimizer.groups import ChannelGroup, groups_of
from foldpress.optimizer.masks import Masks, unmask


def shrink(model: ir.Model, masks: Masks) -> None:
    """Keep only the channels that `masks` keep, in place; a graph that is `masked` already may be given too.

    Equal to `masked`, since nothing sees anything else of the channels that go.

    Raises:
        RequestError: no channel is to be left of a group that cannot do without.
    """
    unmask(model)
    following, classes = follow(model)
    left = np.ones(len(classes.of), bool)  # by class
    empty = []
    for group in groups_of(following, classes):
        keep = masks.channels.get(group.name, np.arange(group.channels))
        if len(keep):
            left[np.delete(group.classes, keep)] = False
        else:
            empty += _removable(group)
    cut = Cut(model, left[classes.of])
    cut_stored(cut, following)
    for patch in following.patches:
        patch(cut)
    for branch in empty:
        branch.remove(model)
    forget_shapes(model)
    RemoveUnusedNodesPass()(model)
    infer_shapes(model)


def _removable(group: ChannelGroup) -> list[Branch]:
    if group.least:
        raise RequestError(f"{group.name} cannot do without any channel", mend=f"keep at least {group.least}")
    return group.branches


def forget_shapes(model: ir.Model) -> None:
    """Drop the shapes of computed tensors, which surgery has made untrue; inference finds them again."""
    outputs = set(model.graph.outputs)
    for node in model.graph:
        for value in node.outputs:
            if value not in outputs:
                value.shape = None
