"""Where the numbers come from that a graph stores: which number of which parameter.

Exporters and clean-up rename, transpose, slice, join and reorder weights. So the network is exported once more with parameters
that hold their own numbering, 1, 2, 3, …, in as many digits as a float can tell apart; what comes out at a place says what
came in. Batch normalization is made to do nothing meanwhile, or it would scale the numbers.
"""

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
import torch
from torch.nn.modules.batchnorm import _BatchNorm

from foldpress.data import Array, Dataset, Indices
from foldpress.errors import ModelError
from foldpress.exporter.export import unverified
from foldpress.exporter.source import fit_names
from foldpress.graph import initializer

_UNKNOWN = -1
_ROOM = 4  # by which digits stay below what a float can tell apart: rounding moves them by less than a quarter

Place = tuple[str, int]  # a node's name, and the position of an input of it


@dataclass(frozen=True, eq=False)
class Origins:
    """The origin of what a graph stores.

    Args:
        shapes: of the parameters, by name, in the order in which their numbers are counted.
        of: for stored inputs of nodes the number of each element, −1 where it is no parameter's, in the shape that is stored.
    """

    shapes: Mapping[str, torch.Size]
    of: Mapping[Place, Indices]

    def at(self, place: Place, chosen: Array) -> Indices:
        """The numbers of some elements of a stored input, [n].

        Raises:
            ModelError: they are no parameter's; names the node.
        """
        found = self.of.get(place)
        numbers = np.full(1, _UNKNOWN) if found is None else found[chosen]
        if (numbers == _UNKNOWN).any():
            raise ModelError(
                f"the weights of node {place[0]} cannot be traced to the network's parameters",
                mend="weights that forward computes cannot be masked: leave [finetune] out, or protect that layer",
            )
        return numbers

    def owner(self, numbers: Indices) -> tuple[str, Indices] | None:
        """The parameter that numbers belong to, and their positions in it, flattened; None where they belong to several."""
        ends = np.cumsum([shape.numel() for shape in self.shapes.values()])
        first, last = np.searchsorted(ends, [numbers.min(), numbers.max()], side="right")
        if first != last:
            return None
        name, shape = [*self.shapes.items()][first]
        return name, numbers - (ends[first] - shape.numel())

    def split(self, flat: Array) -> dict[str, Array]:
        """One value for each number, [all], as arrays by the parameters' names."""
        ends = np.cumsum([shape.numel() for shape in self.shapes.values()])
        parts = np.split(flat, ends[:-1])
        return {name: part.reshape(shape) for (name, shape), part in zip(self.shapes.items(), parts, strict=True)}

    @property
    def count(self) -> int:
        """How many numbers there are."""
        return sum(shape.numel() for shape in self.shapes.values())


def find_origins(model: torch.nn.Module, dataset: Dataset, prepare: Callable[[ir.Model], ir.Model]) -> Origins:
    """Trace what the graph of `model` stores, after `prepare`.

    Raises:
        ModelError: PyTorch cannot export the model.
    """
    model = copy.deepcopy(model).eval()
    shapes = {name: parameter.shape for name, parameter in model.named_parameters()}
    count = sum(shape.numel() for shape in shapes.values())
    base = min(int(2 / torch.finfo(one.dtype).eps) // _ROOM for one in model.parameters() if one.is_floating_point())
    samples = fit_names(model, dataset).select(np.arange(min(2, len(dataset))))
    found: dict[Place, Indices] = {}
    for power in range(_digits(count, base)):
        _number(model, base, power)
        for place, stored in _stored(prepare(unverified(model, samples))):
            digit = _digit(stored, base)
            before = found.get(place, np.zeros(stored.shape, np.intp))
            known = (before != _UNKNOWN) & (digit != _UNKNOWN)
            found[place] = np.where(known, before + digit * base**power, _UNKNOWN)
    return Origins(shapes, {place: np.where(one < count, one, _UNKNOWN) for place, one in found.items()})


def _digits(count: int, base: int) -> int:
    digits = 1
    while base**digits < count:
        digits += 1
    return digits


@torch.no_grad()
def _number(model: torch.nn.Module, base: int, power: int) -> None:
    """Let every parameter hold one digit of its numbers, plus one: a zero comes from nowhere."""
    start = 0
    for parameter in model.parameters():
        numbers = torch.arange(start, start + parameter.numel()) // base**power % base + 1
        parameter.copy_(numbers.reshape(parameter.shape))
        start += parameter.numel()
    for norm in model.modules():
        if isinstance(norm, _BatchNorm) and norm.running_mean is not None and norm.running_var is not None:
            norm.running_mean.zero_()
            norm.running_var.fill_(1 - norm.eps)
            if norm.affine:
                norm.weight.fill_(1)


def _stored(graph: ir.Model) -> Iterator[tuple[Place, Array]]:
    for node in graph.graph:
        for position, value in enumerate(node.inputs):
            stored = initializer(graph, value)
            if stored is not None and stored.dtype.kind == "f":
                yield (str(node.name), position), stored


def _digit(stored: Array, base: int) -> Indices:
    whole = np.rint(stored.astype(np.float64))
    fits = (np.abs(stored - whole) < 1 / _ROOM) & (whole >= 1) & (whole <= base)
    return np.where(fits, whole - 1, _UNKNOWN).astype(np.intp)
