"""Which offer of which layer is taken: the least error of the network's outputs in all for what has to be saved."""

from collections.abc import Sequence

import onnx_ir as ir

from foldpress.data import Dataset
from foldpress.graph import copy_graph
from foldpress.optimizer.allocation import BudgetError
from foldpress.optimizer.factorize.costs import Costs
from foldpress.optimizer.factorize.offers import LayerOffers, Offer
from foldpress.optimizer.influence import Outputs, few_samples
from foldpress.optimizer.knapsack import choose


def allocate_offers(layers: Sequence[LayerOffers], costs: Costs, budget: float) -> None:
    """Take offers until a share `budget` of the cost is left, by the multiple-choice knapsack.

    Raises:
        BudgetError: says the smallest budget that can be met.
    """
    most = [row.saved.max() for row in layers]
    least = 1 - sum(most) / costs.total
    if least > budget:
        raise BudgetError(costs.kind, budget, least, "the layers that can be factorized allow", table="factorize")
    need = (1 - budget) * costs.total
    chosen = choose([row.saved for row in layers], [row.losses for row in layers], need)
    for number, row in enumerate(layers):
        pick = chosen[number] if chosen is not None else int(row.saved.argmax())  # all there is, to the last bit
        row.taken = row.offers[pick - 1] if pick else None


def measure_influences(model: ir.Model, layers: Sequence[LayerOffers], samples: Dataset, share: float) -> None:
    """Set `influence` of every layer, by factorizing it alone about as far as an even share would; as for pruning."""
    if not any(value.dtype is not None and value.dtype.is_floating_point() for value in model.graph.outputs):
        return
    outputs = Outputs(model, samples.select(few_samples(len(samples))))
    for row in layers:
        if row.offers:
            offer = _typical(row.offers, share)
            row.influence = outputs.error(dense(model, row, offer)) / max(offer.error, 1e-12)


def dense(model: ir.Model, row: LayerOffers, offer: Offer) -> ir.Model:
    """A copy whose weight is the product of one offer, multiplied out, with the bias that goes with it."""
    made, weight = copy_graph(model), offer.product.dense()
    row.layer.store(made, weight[None])
    if row.problem.mean.any():
        row.layer.add_to_bias(made, row.problem.bias_change(weight))
    return made


def _typical(offers: Sequence[Offer], share: float) -> Offer:
    """The offer of least error that leaves as little as `share` of the layer's cost, or the least of all."""
    return next((offer for offer in reversed(offers) if offer.share <= share), offers[0])
