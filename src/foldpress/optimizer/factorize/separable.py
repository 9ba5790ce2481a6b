"""Spatially separable: a k × k convolution as a k × 1 and a 1 × k one with R channels between them.

    Ŵ_mcij = Σ_r P_rci Q_mrj

(Jaderberg et al. 2014, arXiv:1405.3866, scheme 2). The kernel is rearranged to [(m, j), (c, i)], whose rank is R. The fit starts
from its principal inputs in the metric of columns of patches, the mean over j, and goes on in that of whole patches.
"""

import numpy as np

from foldpress.optimizer.factorize.chain import Chain, strided
from foldpress.optimizer.factorize.fitting import refit
from foldpress.optimizer.factorize.form import Rank, Shape, is_plain, stepped, weight_shape, zeros
from foldpress.optimizer.factorize.problem import Problem, principal_inputs
from foldpress.optimizer.factorize.product import Product
from foldpress.optimizer.layers import Layer

SPEC = "rci,mrj->m|cij"


class Separable:
    """See `form.Form`; a rank is R."""

    name = "separable"

    def why_not(self, layer: Layer) -> str | None:
        """Only convolutions in a plane have two axes to separate."""
        kernel = weight_shape(layer)[2:]
        if len(kernel) != 2 or min(kernel) == 1:
            return "its kernel is not of two axes"
        return is_plain(layer)

    def ranks(self, shape: Shape) -> list[Rank]:
        """The number of channels between the two."""
        outputs, inputs, height, width = shape
        most = min(outputs * width, inputs * height)
        limit = outputs * inputs * height * width / (inputs * height + outputs * width)
        return [(rank,) for rank in stepped(limit) if rank <= most]

    def empty(self, shape: Shape, rank: Rank) -> Product:
        """P [R, C, height], Q [M, R, width]."""
        outputs, inputs, height, width = shape
        return zeros(SPEC, (*rank, inputs, height), (outputs, *rank, width))

    def start(self, problem: Problem, shape: Shape, rank: Rank) -> Product:
        """The best P for columns of patches, then the best Q for patches."""
        outputs, inputs, height, width = shape
        metric = np.einsum("cijdkj->cidk", problem.metric.reshape(shape[1:] * 2)).reshape(inputs * height, -1)
        rows = problem.weight.reshape(shape).transpose(0, 3, 1, 2).reshape(outputs * width, -1)
        first = principal_inputs(rows, metric, rank[0]).reshape(-1, inputs, height)
        return refit(Product(SPEC, (first, np.zeros((outputs, *rank, width)))), problem, 1)

    def build(self, chain: Chain, product: Product) -> None:
        """Two convolutions; the first has no bias, so what pads its outputs is what they would be."""
        first, second = product.factors
        chain.convolve(first[..., None], **strided(chain.layer, slice(0, 1)))
        chain.convolve(second[:, :, None], chain.bias, **strided(chain.layer, slice(1, 2)))
