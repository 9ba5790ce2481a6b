"""What every layer offers: its options that save something, each with its best factors, what it saves and what it costs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from foldpress.optimizer.factorize.costs import Costs, saves
from foldpress.optimizer.factorize.form import weight_shape
from foldpress.optimizer.factorize.forms import Option
from foldpress.optimizer.factorize.problem import Problem, make_problem
from foldpress.optimizer.factorize.product import Product
from foldpress.optimizer.layers import Layer


@dataclass(frozen=True, eq=False)
class Offer:
    """An option: the error of the layer's outputs relative to their variance, what the network saves, and what is left of
    the layer's own cost.
    """

    option: Option
    product: Product
    error: float
    saved: float
    share: float


@dataclass(eq=False)
class LayerOffers:
    """A layer, what it offers, the best first in what it saves, and which of that is taken, if any.

    `influence` is the error of the network's outputs that comes with an error of 1 in the layer's; `fastest` is the option that
    costs least where none saves anything.
    """

    layer: Layer
    problem: Problem
    offers: list[Offer] = field(default_factory=list)
    fastest: Offer | None = None
    influence: float = 1.0
    taken: Offer | None = None

    @property
    def saved(self) -> NDArray[np.float64]:
        """What staying as it is, and each offer, saves."""
        return np.array([0.0, *(offer.saved for offer in self.offers)])

    @property
    def losses(self) -> NDArray[np.float64]:
        """What they cost at the outputs."""
        return np.array([0.0, *(self.influence * offer.error for offer in self.offers)])


def make_offers(
    model: ir.Model,
    layers: Mapping[str, tuple[Layer, list[Option]]],
    grams: Mapping[str, NDArray[np.float64]],
    costs: Costs,
) -> list[LayerOffers]:
    """Fit every option that saves something, of every layer; those that another one beats in both ways are left out."""
    return [_of_layer(model, layer, options, grams[layer.name], costs) for layer, options in layers.values()]


def layer_problem(model: ir.Model, layer: Layer, gram: NDArray[np.float64]) -> Problem:
    """A layer on the samples of its Gram matrix, [D + 1, D + 1]; with a bias where it has a place for one."""
    weight = layer.matrices(model)[0]
    return make_problem(weight, gram if has_bias(model, layer) else gram[:-1, :-1] / gram[-1, -1])


def has_bias(model: ir.Model, layer: Layer) -> bool:
    """Whether something stored is, or may be, added to a layer's outputs."""
    return layer.node.op_type != "MatMul" or layer.bias(model) is not None


def _of_layer(
    model: ir.Model, layer: Layer, options: Sequence[Option], gram: NDArray[np.float64], costs: Costs
) -> LayerOffers:
    problem = layer_problem(model, layer, gram)
    shares = {option: costs.share(layer, option) for option in options}
    worth = [option for option in options if saves(shares[option])]
    made = [_offer(layer, problem, option, shares[option], costs) for option in worth]
    if not made:
        best = min(options, key=lambda option: shares[option])
        return LayerOffers(layer, problem, fastest=_offer(layer, problem, best, shares[best], costs))
    return LayerOffers(layer, problem, unbeaten(made))


def _offer(layer: Layer, problem: Problem, option: Option, share: float, costs: Costs) -> Offer:
    product = option.form.start(problem, weight_shape(layer), option.rank)
    return Offer(option, product, problem.fitted_error(product.dense()), costs.saved(layer, option), share)


def unbeaten(offers: Sequence[Offer]) -> list[Offer]:
    """Those that save more than every other one of as little error."""
    kept: list[Offer] = []
    for offer in sorted(offers, key=lambda offer: (-offer.saved, offer.error)):
        if not kept or offer.error < kept[-1].error:
            kept.append(offer)
    return kept
