"""The pass: factorize the layers where it costs the outputs least for what it saves, down to a budget."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir.passes.common import ShapeInferencePass

from foldpress.data import Dataset
from foldpress.errors import RequestError
from foldpress.graph import copy_graph
from foldpress.optimizer.factorize.allocation import allocate_offers, measure_influences
from foldpress.optimizer.factorize.costs import Costs, CountCosts, LayerTimes, TimeCosts
from foldpress.optimizer.factorize.forms import Method, factorizable
from foldpress.optimizer.factorize.offers import LayerOffers, make_offers
from foldpress.optimizer.factorize.part import replace_layer
from foldpress.optimizer.factorize.product import Product
from foldpress.optimizer.factorize.repair import factors_in_place
from foldpress.optimizer.ledger import Budget
from foldpress.optimizer.passes import LogEntry, PassResult
from foldpress.optimizer.proof import prove_equal


@dataclass(frozen=True)
class Factorize:
    """Replace layers by chains of smaller ones until a share `budget` of the MACs, parameters, bytes or time is left.

    Args:
        kind: what the budget counts.
        budget: the share that is to be left, in (0, 1).
        grams: Gram matrix of each layer's inputs, by the layer's name (`GramStatistics`).
        samples: those that `grams` sums over; labels are not read.
        method: one form, or all of them.
        times: measured for this network; with a budget of time.
        protect: names of layers that stay as they are.

    Raises:
        RequestError: the budget cannot be met (says the smallest that can), no layer can be factorized, or there is no layer of
            a protected name.
    """

    kind: Budget
    budget: float
    grams: Mapping[str, NDArray[np.float64]]
    samples: Dataset
    method: Method = "auto"
    times: LayerTimes | None = None
    protect: tuple[str, ...] = ()
    name: str = "factorize"

    def __call__(self, model: ir.Model) -> PassResult:
        """Choose, fit, replace; the log has one line for every layer, factorized or not."""
        declined = factorizable(model, self.method, self.protect)[1]
        rows, products = self.fit(model)
        factorized = with_factors(model, rows, products)
        prove_equal(model, factorized, self.samples)
        log = [LogEntry(self.name, name, "declined", reason) for name, reason in declined]
        return PassResult(factorized, (*log, *(self._entry(row) for row in rows)))

    def fit(self, model: ir.Model) -> tuple[list[LayerOffers], dict[str, Product]]:
        """What each layer offers, and the products of those that take something, by name; in `model` they are multiplied out."""
        rows = self.decide(model)
        return rows, factors_in_place(model, [row for row in rows if row.taken is not None], self.samples)

    def decide(self, model: ir.Model) -> list[LayerOffers]:
        """What each layer offers, and what of it is taken."""
        rows = self.offers(model)
        self.choose(model, rows)
        return rows

    def offers(self, model: ir.Model) -> list[LayerOffers]:
        """What each layer offers, whatever the budget."""
        layers, declined = factorizable(model, self.method, self.protect)
        if not layers:
            raise nothing_to_factorize(self.method, declined)
        return make_offers(model, layers, self.grams, self.costs(model))

    def choose(self, model: ir.Model, rows: Sequence[LayerOffers]) -> None:
        """Measure how much each layer matters at the outputs when it goes as far as the budget asks, and take what meets it."""
        measure_influences(model, rows, self.samples, self.budget)
        allocate_offers(rows, self.costs(model), self.budget)

    def costs(self, model: ir.Model) -> Costs:
        """What the budget counts."""
        if self.kind != "latency":
            return CountCosts(model, self.kind)
        if self.times is not None:
            return TimeCosts(self.times)
        raise RequestError("a budget of time needs measured times", mend="foldpress run, or foldpress factorize")

    def _entry(self, row: LayerOffers) -> LogEntry:
        what = "time" if self.kind == "latency" else self.kind
        if row.taken is not None:
            told = f"{row.taken.option} leaves {row.taken.share:.1%} of its {what}"
            return LogEntry(self.name, row.layer.name, "done", f"{told}; error of its outputs {row.taken.error:.2%}")
        if row.fastest is not None:
            told = f"the best there is, {row.fastest.option}, would take {row.fastest.share:.2f} times its {what}"
            return LogEntry(
                self.name, row.layer.name, "declined", f"{told}, at an error of {row.fastest.error:.2%} of its outputs"
            )
        near = row.offers[-1]
        told = f"{near.option} would leave {near.share:.1%} of its {what} at an error of {near.error:.2%}"
        return LogEntry(self.name, row.layer.name, "declined", f"other layers give more for less error: {told}")


def with_factors(model: ir.Model, rows: Sequence[LayerOffers], products: Mapping[str, Product]) -> ir.Model:
    """A copy with the offers that are taken carried out; a layer that has none in `products` gets those it was offered with."""
    made = copy_graph(model)
    for row in rows:
        if row.taken is not None:
            replace_layer(made, row.layer, row.taken.option, products.get(row.layer.name, row.taken.product))
    ShapeInferencePass(data_prop=True)(made)
    return made


def nothing_to_factorize(method: Method, declined: list[tuple[str, str]]) -> RequestError:
    """Says why, with a layer for each of the first few reasons."""
    examples = {reason: name for name, reason in reversed(declined)}
    reasons = "; ".join(f"{name}: {reason}" for reason, name in [*examples.items()][:3])
    return RequestError(
        f"no layer of this graph can be factorized{'' if method == 'auto' else f' with method = {method!r}'}",
        available=reasons or "the graph has no weighted layer",
        mend="leave [factorize] out",
    )
