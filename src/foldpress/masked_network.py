"""A PyTorch network, and the decisions that pruning has made in its graph.

Pruning decides, hides and repairs in the cleaned graph, and PyTorch trains parameters: so batch normalization is folded in
PyTorch too, every number that the graph stores is traced to the parameter that it comes from, repaired weights go back there,
and masks with them. What is trained is exported again, and the same channels are cut out of it.
"""

import copy
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from foldpress.data import Array, Dataset, fit_inputs
from foldpress.graph import initializer, input_specs
from foldpress.optimizer.cleanup import clean_up
from foldpress.optimizer.groups import find_groups
from foldpress.optimizer.masks import Masks, gone
from foldpress.optimizer.passes import PassResult, apply
from foldpress.optimizer.shrink import shrink
from foldpress.optimizer.structured import cut

if TYPE_CHECKING:
    import torch

    from foldpress.exporter.origins import Origins, Place


class MaskedNetwork:
    """A PyTorch network, its cleaned graph, and masks that were decided there.

    Args:
        module: trained; it is copied.
        samples: under the names of its inputs; a few of them are looked at.

    Raises:
        ModelError: it cannot be exported.
        ParityError: its graph computes something else.
    """

    def __init__(self, module: "torch.nn.Module", samples: Dataset) -> None:
        from foldpress.exporter.export import export_model
        from foldpress.exporter.fusing import fuse_batch_norm
        from foldpress.exporter.source import fit_names

        self.module = copy.deepcopy(module).cpu().eval()
        self._samples = fit_names(self.module, samples)
        fuse_batch_norm(self.module, self._samples)
        still = copy.deepcopy(self.module)  # a graph shares its weights with the module that it was exported from
        self.graph = _cleaned(export_model(still, self._samples).graph)

    @cached_property
    def origins(self) -> "Origins":
        """From which parameters the numbers in its graph come."""
        from foldpress.exporter.origins import find_origins

        return find_origins(self.module, self._samples, _cleaned)

    def parameters(self, place: "Place") -> list[str]:
        """Names of the parameters that a stored input of a node comes from.

        Raises:
            ModelError: it comes from none; names the node.
        """
        found = np.zeros(self.origins.count, bool)
        found[self.origins.at(place, np.ones(self.origins.of[place].shape, bool))] = True
        return [name for name, part in self.origins.split(found).items() if part.any()]

    def take(self, masks: Masks, repaired: ir.Model) -> dict[str, Array]:
        """Put repaired weights back into the module; true where a parameter stays, by the parameters' names.

        Raises:
            ModelError: weights that cannot be traced to parameters; names the node.
        """
        stays = self.origins.split(_stays(self.graph, masks, self.origins))
        self.load(self.graph, repaired, self.origins)
        return {name: mask for name, mask in stays.items() if not mask.all()}

    def pruned(self, masks: Masks) -> PassResult:
        """The graph of the module as it is by now, without the channels that are masked; proven equal."""
        from foldpress.exporter.export import export_model

        graph = _cleaned(export_model(self.module, self._samples).graph)
        if not masks.channels:
            return PassResult(graph)
        return PassResult(cut(graph, masks, fit_inputs(self._samples, input_specs(graph))))

    def pruned_origins(self, masks: Masks) -> "Origins":
        """From which parameters the numbers in that graph come."""
        from foldpress.exporter.origins import find_origins

        if not masks.channels:
            return self.origins

        def prepared(graph: ir.Model) -> ir.Model:
            made = _cleaned(graph)
            shrink(made, masks)
            return made

        return find_origins(self.module, self._samples, prepared)

    def load(self, before: ir.Model, after: ir.Model, origins: "Origins") -> None:
        """Put weights in which two graphs of it differ into the module, as the second has them.

        Raises:
            ModelError: they cannot be traced to parameters; names the node.
        """
        import torch

        known = dict(self.module.named_parameters())
        flat = np.concatenate([one.detach().numpy().ravel() for one in known.values()])
        for place, old, new in _changed(before, after):
            flat[origins.at(place, old != new)] = new[old != new]
        with torch.no_grad():
            for name, values in origins.split(flat).items():
                known[name].copy_(torch.from_numpy(values))


def _cleaned(graph: ir.Model) -> ir.Model:
    return apply(clean_up(), graph).model


def _changed(before: ir.Model, after: ir.Model) -> list[tuple[tuple[str, int], Array, Array]]:
    """Stored inputs of nodes that differ, by node and position. A bias that repair has added has no parameter: it is left out."""
    nodes = {node.name: node for node in after.graph}
    found = []
    for node in before.graph:
        for position, value in enumerate(node.inputs):
            old, new = initializer(before, value), initializer(after, nodes[node.name].inputs[position])
            if old is not None and new is not None and not np.array_equal(old, new):
                found.append(((str(node.name), position), old, new))
    return found


def _stays(graph: ir.Model, masks: Masks, origins: "Origins") -> Array:
    """For every number of a parameter whether it stays, [all].

    Masking what consumes a channel is enough; where two computed tensors meet, nothing stored consumes it, and what makes it
    is masked too.
    """
    stays = np.ones(origins.count, bool)
    for group in find_groups(graph)[0]:
        if group.name not in masks.channels:
            continue
        for slot in (*group.consumers, *(group.slots if group.meetings else ())):
            chosen = np.zeros(slot.value.shape.numpy(), bool)
            np.moveaxis(chosen, slot.axis, 0)[gone(slot, masks.channels[group.name])] = True
            stays[origins.at((str(slot.node.name), slot.position), chosen)] = False
    for name, kept in masks.weights.items():
        for use in graph.graph.initializers[name].uses():
            stays[origins.at((str(use.node.name), use.idx), ~kept)] = False
    return stays
