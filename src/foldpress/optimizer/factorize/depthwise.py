"""Depthwise-separable, or compact, filters: a few filters over each channel by itself, then a 1 × 1 convolution.

    Ŵ_mct = Σ_u F_cut Q_mcu

(Howard et al. 2017, arXiv:1704.04861; Guo et al. 2018, arXiv:1808.09745, show that any kernel is such a sum with u up to
the number of taps.) For a channel by itself the best filters are its kernels' principal inputs in the metric of its own patch;
from there the fit goes on over all channels, whose patches are alike.
"""

import numpy as np

from foldpress.optimizer.factorize.chain import Chain, strided
from foldpress.optimizer.factorize.fitting import refit
from foldpress.optimizer.factorize.form import Rank, Shape, is_plain, taps, weight_shape, zeros
from foldpress.optimizer.factorize.problem import Problem, principal_inputs
from foldpress.optimizer.factorize.product import Product
from foldpress.optimizer.layers import Layer

SPEC = "cut,mcu->m|ct"
_MULTIPLIERS = (4, 3, 2, 1)


class Depthwise:
    """See `form.Form`; a rank is u, the filters of each channel."""

    name = "depthwise"

    def why_not(self, layer: Layer) -> str | None:
        """A single tap leaves nothing to separate, and so does a single channel."""
        shape = weight_shape(layer)
        if taps(shape) == 1 or shape[1] == 1:
            return "it has a single channel, or its kernel a single tap"
        return is_plain(layer)

    def ranks(self, shape: Shape) -> list[Rank]:
        """A few."""
        full = int(np.prod(shape))
        return [(most,) for most in _MULTIPLIERS if most < taps(shape) and self.empty(shape, (most,)).parameters < full]

    def empty(self, shape: Shape, rank: Rank) -> Product:
        """F [C, u, taps], Q [M, C, u]."""
        return zeros(SPEC, (shape[1], *rank, taps(shape)), (shape[0], shape[1], *rank))

    def start(self, problem: Problem, shape: Shape, rank: Rank) -> Product:
        """The best filters of each channel by itself, then the best sums of all."""
        outputs, inputs, count = shape[0], shape[1], taps(shape)
        kernels = problem.weight.reshape(outputs, inputs, count)
        metric = problem.metric.reshape(inputs, count, inputs, count)
        filters = [principal_inputs(kernels[:, c], metric[c, :, c], rank[0]) for c in range(inputs)]
        first = np.stack([one / max(float(np.abs(one).max()), 1e-30) for one in filters])
        return refit(Product(SPEC, (first, np.zeros((outputs, inputs, *rank)))), problem, 1)

    def build(self, chain: Chain, product: Product) -> None:
        """Two convolutions."""
        first, second = product.factors
        kernel = weight_shape(chain.layer)[2:]
        filters = first.reshape(-1, 1, *kernel)
        chain.convolve(filters, group=len(first), **strided(chain.layer))
        chain.convolve(second.reshape(len(second), -1, *(1 for _ in kernel)), chain.bias)
