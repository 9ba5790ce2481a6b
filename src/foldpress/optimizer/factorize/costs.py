"""What each option saves: counted in the graph that it makes of its layer, or looked up in times that were measured."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import onnx_ir as ir

from foldpress.cost import graph_cost
from foldpress.errors import RequestError
from foldpress.optimizer.factorize.forms import Option
from foldpress.optimizer.factorize.part import alone, sketched
from foldpress.optimizer.layers import Layer
from foldpress.optimizer.ledger import Counted
from foldpress.sample_shapes import sample_shapes

AS_IT_IS = "as it is"
_LEAST = 0.01  # of a layer's cost that an option has to save; less is noise where time is measured


class Costs(Protocol):
    """A cost that factorization is to bring down; `kind` is its name in messages, `total` that of the whole network."""

    kind: str
    total: float

    def share(self, layer: Layer, option: Option) -> float:
        """What is left of the layer's own cost."""

    def saved(self, layer: Layer, option: Option) -> float:
        """What the whole network saves."""


@dataclass(frozen=True)
class LayerTimes:
    """Milliseconds: of the whole network, and of every layer by name as it is and in each option, by what that is called."""

    whole: float
    layers: Mapping[str, Mapping[str, float]]


class TimeCosts:
    """Time as measured; a layer that was not measured saves nothing."""

    kind = "latency"

    def __init__(self, times: LayerTimes) -> None:
        self.total, self._layers = times.whole, times.layers

    def share(self, layer: Layer, option: Option) -> float:
        """Time of the option over that of the layer, each by itself."""
        row = self._layers.get(layer.name, {})
        return row[str(option)] / row[AS_IT_IS] if str(option) in row else 1.0

    def saved(self, layer: Layer, option: Option) -> float:
        """Milliseconds."""
        row = self._layers.get(layer.name, {})
        return row[AS_IT_IS] - row[str(option)] if str(option) in row else 0.0


class CountCosts:
    """MACs, parameters or bytes of every layer that multiplies matrices.

    Raises:
        RequestError: they are not known for some layer.
    """

    def __init__(self, model: ir.Model, kind: Counted) -> None:
        self.kind: str = kind
        self._model, self._counted = model, kind
        self.total = self._count(model)
        self._shapes = sample_shapes(model)
        self._shares: dict[tuple[str, Option], float] = {}
        self._parts: dict[str, tuple[ir.Model, float, float]] = {}

    def share(self, layer: Layer, option: Option) -> float:
        """An option that saves what is asked for at the price of a larger file is worth nothing."""
        if (layer.name, option) not in self._shares:
            part, full, size = self._part(layer)
            made = sketched(part, layer, option)
            self._shares[layer.name, option] = self._count(made) / full if _bytes(made) <= size else 1.0
        return self._shares[layer.name, option]

    def saved(self, layer: Layer, option: Option) -> float:
        """In what the budget counts."""
        return (1 - self.share(layer, option)) * self._part(layer)[1]

    def _part(self, layer: Layer) -> tuple[ir.Model, float, float]:
        if layer.name not in self._parts:
            part = alone(self._model, layer, self._shapes)
            self._parts[layer.name] = part, self._count(part), _bytes(part)
        return self._parts[layer.name]

    def _count(self, model: ir.Model) -> float:
        layers = graph_cost(model).layers
        unknown = [layer.name for layer in layers if getattr(layer, self._counted) is None]
        if unknown:
            raise RequestError(f"the {self.kind} of {', '.join(unknown[:3])} are not known, so no budget can be kept")
        return float(sum(getattr(layer, self._counted) for layer in layers))


def _bytes(model: ir.Model) -> int:
    return sum(layer.bytes for layer in graph_cost(model).layers)


def saves(share: float) -> bool:
    """Whether what is left of a layer's cost is enough less."""
    return share <= 1 - _LEAST
