"""Surgery: remove the channels that masks leave out from every tensor that holds them."""

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass, ShapeInferencePass

from foldpress.optimizer.follow.following import Cut, cut_stored
from foldpress.optimizer.follow.walk import follow
from foldpress.optimizer.groups import groups_of
from foldpress.optimizer.masks import Masks, unmask


def shrink(model: ir.Model, masks: Masks) -> None:
    """Keep only the channels that `masks` keep, in place; a graph that is `masked` already may be given too.

    Equal to `masked`, since nothing sees anything else of the channels that go.
    """
    unmask(model)
    following, classes = follow(model)
    left = np.ones(len(classes.of), bool)  # by class
    for group in groups_of(following, classes):
        if group.name in masks.channels:
            left[np.delete(group.classes, masks.channels[group.name])] = False
    cut = Cut(model, left[classes.of])
    cut_stored(cut, following)
    for patch in following.patches:
        patch(cut)
    forget_shapes(model)
    RemoveUnusedNodesPass()(model)
    ShapeInferencePass(data_prop=True)(model)


def forget_shapes(model: ir.Model) -> None:
    """Drop the shapes of computed tensors, which surgery has made untrue; inference finds them again."""
    outputs = set(model.graph.outputs)
    for node in model.graph:
        for value in node.outputs:
            if value not in outputs:
                value.shape = None
