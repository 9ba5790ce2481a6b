"""Hide what plans take, in a graph that keeps its shapes, and let the layers behind make up for it."""

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from foldpress.data import Dataset, Indices
from foldpress.graph import copy_graph
from foldpress.optimizer.allocation import Plan
from foldpress.optimizer.gates import add_gates, remove_gates, store_gates
from foldpress.optimizer.groups import find_groups
from foldpress.optimizer.masks import mask_group
from foldpress.optimizer.reconstruction import reconstruct
from foldpress.optimizer.repair import Consumer, refit


def hide(model: ir.Model, plans: Sequence[Plan], samples: Dataset, *, together: bool = True) -> None:
    """First every consumer by itself, then all that is behind a cut, for what the cuts do together; in place.

    Args:
        model: a graph with shapes.
        plans: those that take something. A layer may lose features to several.
        samples: without labels.
        together: see `reconstruct`.
    """
    original = copy_graph(model)
    kept = refit_consumers(model, plans)
    clear_branches(model, plans)
    reconstruct(original, model, kept, samples, together=together)


def refit_consumers(model: ir.Model, plans: Sequence[Plan]) -> dict[str, Indices]:
    """Every consumer by itself, in place; the features that are left, by its name. `model` may be a copy.

    What sums over the channels in another way than a plain layer has no features, but is damaged all the same.
    """
    kept: dict[str, Indices] = {}
    problems: dict[str, Consumer] = {}
    for plan in plans:
        for one in plan.consumers:
            name = str(one.slot.node.name)
            left = one.without(plan.gone())
            kept[name], problems[name] = np.intersect1d(kept.get(name, left), left), one
    add_gates(model)
    for name, one in problems.items():
        refit(model, one, kept[name])
    store_gates(model)
    remove_gates(model)
    for plan in plans:
        mask_group(model, plan.group, plan.keep())
    others = {str(slot.node.name) for plan in plans for slot in plan.group.consumers} - kept.keys()
    return kept | dict.fromkeys(others, np.empty(0, np.intp))


def clear_branches(model: ir.Model, plans: Sequence[Plan]) -> None:
    """Leave nothing of the branches that go as a whole, in place; `model` may be a copy."""
    empty = {plan.group.name for plan in plans if plan.taken and not len(plan.keep())}
    for group in find_groups(model)[0] if empty else ():
        for branch in group.branches if group.name in empty else ():
            branch.clear(model)
