"""Low rank: r outputs instead of M, and a matrix that makes M of them.

The best one in the metric of the inputs is known: the principal components of the layer's outputs (see `principal_inputs`), and
its squared error is the sum of the eigenvalues that are left out. For a convolution the first layer keeps the kernel, the second
is 1 × 1 (Zhang et al. 2015, arXiv:1505.06798, §2.1).

Each inner output is scaled to the variance 1, so that one scale quantizes them all.
"""

import numpy as np

from foldpress.optimizer.factorize.chain import Chain, strided
from foldpress.optimizer.factorize.fitting import refit
from foldpress.optimizer.factorize.form import Rank, Shape, is_plain, stepped, weight_shape, zeros
from foldpress.optimizer.factorize.problem import Problem, principal_inputs
from foldpress.optimizer.factorize.product import Product
from foldpress.optimizer.layers import Layer

SPEC = "rd,mr->m|d"


class LowRank:
    """Ŵ = A B with A [M, r] and B [r, D]; see `form.Form`."""

    name = "low-rank"

    def why_not(self, layer: Layer) -> str | None:
        """Any matrix and any convolution over all channels has one."""
        return is_plain(layer)

    def ranks(self, shape: Shape) -> list[Rank]:
        """The number of inner outputs."""
        outputs, inputs = shape[0], int(np.prod(shape[1:]))
        return [(rank,) for rank in stepped(outputs * inputs / (outputs + inputs))]

    def empty(self, shape: Shape, rank: Rank) -> Product:
        """B [r, D], A [M, r]."""
        return zeros(SPEC, (*rank, int(np.prod(shape[1:]))), (shape[0], *rank))

    def start(self, problem: Problem, shape: Shape, rank: Rank) -> Product:
        """Optimal."""
        first = principal_inputs(problem.weight, problem.metric, rank[0])
        spread = np.sqrt(np.einsum("rd,de,re->r", first, problem.metric, first, optimize=True))
        first /= np.maximum(spread, 1e-6 * spread.max() or 1)[:, None]
        return refit(Product(SPEC, (first, np.zeros((shape[0], *rank)))), problem, 1)

    def build(self, chain: Chain, product: Product) -> None:
        """Two nodes."""
        first, second = product.factors
        if chain.layer.node.op_type == "Conv":
            kernel = weight_shape(chain.layer)[1:]
            chain.convolve(first.reshape(len(first), *kernel), **strided(chain.layer))
            chain.convolve(second.reshape(*second.shape, *(1 for _ in kernel[1:])), chain.bias)
        else:
            chain.multiply(first.T)
            chain.multiply(second.T, chain.bias)
