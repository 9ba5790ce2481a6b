"""Repair goes from the front of a network to its end: what lies before all layers that may still change is run once.

The tensors that lead from there on, of the original network and of the changed one, are kept for all samples, and with them as
inputs only the layers behind them run. So repair takes time linear in a network's depth rather than quadratic.
"""

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir

from foldpress.data import Array, Dataset, Indices
from foldpress.optimizer.activations import Observed, keeps_samples_apart, observe
from foldpress.optimizer.side_by_side import original_name, side_by_side

# Of tensors of both networks. Where more would be kept, those from further before stay: in front, where tensors are large, there
# is little to run again.
_BYTES = 2**30
_FLOAT_BYTES = 4
_GRAPHS = (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)


@dataclass(frozen=True, eq=False)
class Frontier:
    """Two networks of one structure, and some samples' values of tensors that no longer change.

    Args:
        original: a graph with shapes.
        changed: a copy of it; weights of layers behind the frontier may change while it is in use.
        samples: inputs of both networks, or of what is behind the frontier. No labels.
        known: names of the tensors, in `changed`, that `samples` hold for both networks.
    """

    original: ir.Model
    changed: ir.Model
    samples: Dataset
    known: tuple[str, ...] = ()

    def observe(self, tensors: Sequence[str]) -> Iterator[Observed]:
        """The values of tensors for every sample, all tensors of a sample at once; see `activations.observe`.

        Args:
            tensors: names in `changed`, or of tensors of the original by `original_name`.
        """
        graph = side_by_side(self.original, self.changed, tensors, self.known)
        data = Dataset({str(value.name): self.samples.inputs[str(value.name)] for value in graph.graph.inputs},
                       rows=self.samples.rows)  # fmt: skip
        # No budget: all tensors are needed of a sample at once.
        return observe(graph, tensors, data, np.arange(len(data)), label="repairing", budget=2**62)

    def select(self, indices: Indices) -> "Frontier":
        """The same for some samples."""
        return replace(self, samples=self.samples.select(indices))

    def advanced(self, wanted: Iterable[ir.Value], changing: Collection[str]) -> "Frontier":
        """As far ahead as it can be, or as it is where that would take too much memory.

        Args:
            wanted: the tensors of `changed` that will be asked for from now on, in either network.
            changing: names of the nodes whose weights change from now on.
        """
        lead = _leading(wanted, _settled(self.changed, changing), self._keeps)
        names = tuple(str(value.name) for value in lead if value.producer() is not None)
        if not names or set(names) == set(self.known) or self._least(lead) > _BYTES:
            return self
        inputs = [str(value.name) for value in lead if value.producer() is None]
        found = self._values(names)
        if found is None:
            return self
        given = {name: self.samples.inputs[name][self.samples.rows] for name in inputs}
        return replace(self, samples=Dataset(given | found), known=names)

    def _keeps(self, value: ir.Value) -> bool:
        """Whether a tensor can be kept sample by sample."""
        return value.dtype == ir.DataType.FLOAT and keeps_samples_apart(self.changed, [str(value.name)])

    def _least(self, values: Sequence[ir.Value]) -> int:
        """Bytes of tensors of both networks, as far as their sizes are known before running."""
        sizes = [math.prod(size for size in list(value.shape or ())[1:] if isinstance(size, int)) for value in values]
        return 2 * _FLOAT_BYTES * len(self.samples) * sum(sizes)

    def _values(self, names: Sequence[str]) -> dict[str, Array] | None:
        """Those of both networks, for all samples; None where they turn out to be too large."""
        both = [*names, *map(original_name, names)]
        made: dict[str, Array] = {}
        for number, position, values in self.observe(both):
            kept = made.setdefault(both[number], np.empty((len(self.samples), *values.shape[1:]), np.float32))
            if sum(one.nbytes for one in made.values()) > _BYTES:
                return None
            kept[position] = values
        return made


def _settled(model: ir.Model, changing: Collection[str]) -> set[ir.Node]:
    """Nodes that give the same from now on: no node that changes is before them, nor one with a graph inside, which may read
    anything.
    """
    moved: set[ir.Value | None] = set()
    settled = set()
    for node in model.graph:
        inside = any(attribute.type in _GRAPHS for attribute in node.attributes.values())
        if str(node.name) in changing or inside or any(value in moved for value in node.inputs):
            moved.update(node.outputs)
        else:
            settled.add(node)
    return settled


def _leading(
    wanted: Iterable[ir.Value], settled: Collection[ir.Node], keeps: Callable[[ir.Value], bool]
) -> list[ir.Value]:
    """The last tensors on every way to those `wanted` that are settled and can be kept, and the graph's inputs on the others."""
    left, seen, found = [*wanted], set[ir.Value](), []
    while left:
        value = left.pop()
        if value in seen or value.is_initializer():
            continue
        seen.add(value)
        node = value.producer()
        if node is None or (node in settled and keeps(value)):
            found.append(value)
        else:
            left.extend(one for one in node.inputs if one is not None)
    return found
