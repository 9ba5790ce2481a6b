"""Factors that training goes on with: factorization chooses forms and ranks, and then the factors learn.

What comes of it is a plain network whose weights have these forms. So factorization, which chooses anew, finds them there at
next to no error, in every round of the k-fold check.
"""

from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np

from foldpress.data import Indices
from foldpress.graph import copy_graph
from foldpress.masked_network import MaskedNetwork
from foldpress.optimizer.blas import one_thread
from foldpress.optimizer.factorize.product import Product
from foldpress.optimizer.layers import Layer
from foldpress.optimizer.masks import Masks
from foldpress.optimizer.passes import LogEntry
from foldpress.optimizer.press import Press

if TYPE_CHECKING:
    from foldpress.exporter.origins import Origins
    from foldpress.training.factors import Part

_NAME = "finetune"


def factor_parameters(network: MaskedNetwork, masks: Masks, press: Press) -> tuple[LogEntry, ...]:
    """Let the weights that factorization chooses be products from now on, in place; what it repairs is put back too.

    They are trained as they stand; `foldpress.training.codebooks.write_back` makes plain parameters of them again.

    Args:
        network: holds the weights that pruning has left.
        masks: what it has left out; channels alone.
        press: of its graph; says how to factorize, and has the samples to learn from.

    Returns:
        A line for every layer that is to be factorized.

    Raises:
        RequestError: the budget of factorization cannot be met.
        ModelError: weights that cannot be traced to parameters; names the node.
    """
    from foldpress.training.factors import learn_factors

    pruned = network.pruned(masks).model
    model, factorize = press.unpruned_of(pruned).offers()
    dense = copy_graph(model)
    with one_thread():
        rows, products = factorize.fit(dense)
    origins = network.pruned_origins(masks)
    network.load(model, dense, origins)
    taken = [(row.layer, products[row.layer.name]) for row in rows if row.layer.name in products]
    parts, log = _parts(taken, origins)
    learn_factors(network.module, parts)
    return log


def _parts(
    products: list[tuple[Layer, Product]], origins: "Origins"
) -> "tuple[dict[str, list[Part]], tuple[LogEntry, ...]]":
    """The products that can learn, by the parameters that they are in."""
    from foldpress.training.factors import Part

    parts: dict[str, list[Part]] = defaultdict(list)
    log, free = [], np.ones(origins.count, bool)
    for layer, product in products:
        numbers = _numbers(layer, origins)
        found = origins.owner(numbers) if free[numbers].all() else None
        if found is None:
            log.append(
                LogEntry(_NAME, layer.name, "declined", "its weight is not a part of one parameter, and its own")
            )
            continue
        free[numbers] = False
        equation = f"{product.inputs}->{product.rows}{product.columns}"
        parts[found[0]].append(Part(equation, product.factors, found[1]))
        log.append(LogEntry(_NAME, layer.name, "done", f"{product.parameters} numbers of its factors learn"))
    return dict(parts), tuple(log)


def _numbers(layer: Layer, origins: "Origins") -> Indices:
    """Which numbers of which parameters a layer's weight holds, [M, D]."""
    place = layer.name, 1
    stored = origins.at(place, np.ones(origins.of[place].shape, bool)).reshape(origins.of[place].shape)
    return stored.T if layer.transposed else stored.reshape(len(stored), -1)
