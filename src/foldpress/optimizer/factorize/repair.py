"""Factorize layer by layer, each against what the layers before it give by then.

`reconstruct` first refits a layer to the inputs that it gets in the changed network, so that its outputs come closest to those
of the original one. The best product of that weight in the metric of these inputs is the best product for these outputs, since
what least squares leaves over is orthogonal to what any weight can reach (Zhang et al. 2015, arXiv:1505.06798, §2.3).
"""

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from foldpress.data import Dataset
from foldpress.graph import copy_graph
from foldpress.optimizer.factorize.fitting import fit
from foldpress.optimizer.factorize.form import weight_shape
from foldpress.optimizer.factorize.offers import LayerOffers
from foldpress.optimizer.factorize.problem import make_problem
from foldpress.optimizer.factorize.product import Product
from foldpress.optimizer.gram import features
from foldpress.optimizer.layers import Layer
from foldpress.optimizer.patches import Rows
from foldpress.optimizer.reconstruction import reconstruct

_ROUNDS = 2  # of alternating least squares; more change the third digit of the error


def factors_in_place(model: ir.Model, rows: Sequence[LayerOffers], samples: Dataset) -> dict[str, Product]:
    """The products of all layers that take one, by name; in `model`, each weight becomes its product, multiplied out.

    Args:
        model: a graph with shapes; changed in place, as are the layers behind the first that is factorized.
        rows: those with an offer that is taken.
        samples: without labels.
    """
    taken = {row.layer.name: row for row in rows}
    made: dict[str, Product] = {}

    def settle(layer: Layer, inputs: Rows) -> None:
        if layer.name in taken:
            made[layer.name] = _settled(model, layer, taken[layer.name], inputs[:, 0])

    kept = {row.layer.name: np.arange(features(row.layer.slot)) for row in rows}
    reconstruct(copy_graph(model), model, kept, samples, settle)
    return made


def _settled(model: ir.Model, layer: Layer, row: LayerOffers, inputs: Rows) -> Product:
    """Fit a layer's product to the inputs that it gets, [n, D] or with a last feature of ones, and store it multiplied out."""
    assert row.taken is not None  # noqa: S101  # see factors_in_place
    option, weight = row.taken.option, layer.matrices(model)[0]
    gram = (inputs.T @ inputs).astype(np.float64)
    problem = make_problem(weight, gram if len(gram) > weight.shape[1] else gram / len(inputs))
    fitted = fit(option.form.start(problem, weight_shape(layer), option.rank), problem, _ROUNDS)
    product = Product(fitted.spec, tuple(factor.astype(np.float32).astype(np.float64) for factor in fitted.factors))
    layer.store(model, product.dense()[None])
    if problem.mean.any():
        layer.add_to_bias(model, problem.bias_change(product.dense()))
    return product
