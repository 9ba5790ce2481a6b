"""Tucker-2: a k × k convolution between fewer channels, with a 1 × 1 convolution before and behind it.

    Ŵ_mct = Σ_pq A_mp K_pqt B_qc

(Kim et al. 2016, arXiv:1511.06530). The fit starts like a higher-order singular value decomposition, one side at a time, in the
metric of the inputs: B from the principal inputs of single places, then K and A, which for this B are optimal.
"""

import numpy as np

from foldpress.optimizer.factorize.chain import Chain, strided
from foldpress.optimizer.factorize.fitting import refit
from foldpress.optimizer.factorize.form import Rank, Shape, is_plain, stepped, taps, weight_shape, zeros
from foldpress.optimizer.factorize.low_rank import LowRank
from foldpress.optimizer.factorize.problem import Problem, principal_inputs
from foldpress.optimizer.factorize.product import Product
from foldpress.optimizer.layers import Layer

SPEC = "qc,pqt,mp->m|ct"
_OUTER = "qc,mqt->m|ct"  # with A and K in one


class Tucker:
    """See `form.Form`; a rank is (p, q), inner outputs and inner inputs."""

    name = "tucker"

    def why_not(self, layer: Layer) -> str | None:
        """Of 1 × 1 kernels, low rank is the same with one node less."""
        if taps(weight_shape(layer)) == 1:
            return "its kernel has a single tap"
        return is_plain(layer)

    def ranks(self, shape: Shape) -> list[Rank]:
        """The same share of outputs and of inputs."""
        pairs = [(rank, _nearest(rank * shape[1] / shape[0])) for rank in stepped(shape[0])]
        full = int(np.prod(shape))
        return [pair for pair in pairs if pair[1] < shape[1] and self.empty(shape, pair).parameters < full]

    def empty(self, shape: Shape, rank: Rank) -> Product:
        """B [q, C], K [p, q, taps], A [M, p]."""
        outer, inner = rank
        return zeros(SPEC, (inner, shape[1]), (outer, inner, taps(shape)), (shape[0], outer))

    def start(self, problem: Problem, shape: Shape, rank: Rank) -> Product:
        """One side, then the other."""
        outputs, inputs, count = shape[0], shape[1], taps(shape)
        metric = np.einsum("ctdt->cd", problem.metric.reshape(inputs, count, inputs, count))
        rows = problem.weight.reshape(outputs, inputs, count).transpose(0, 2, 1).reshape(-1, inputs)
        first = principal_inputs(rows, metric, rank[1])
        wide = refit(Product(_OUTER, (first, np.zeros((outputs, rank[1], count)))), problem, 1).factors[1]
        behind = LowRank().start(_behind(problem, first, wide), (outputs, rank[1] * count), rank[:1])
        core, last = behind.factors
        return Product(SPEC, (first, core.reshape(rank[0], rank[1], count), last))

    def build(self, chain: Chain, product: Product) -> None:
        """Three convolutions; only the last has a bias, so padding stays what it was."""
        first, core, last = product.factors
        kernel = weight_shape(chain.layer)[2:]
        ones = tuple(1 for _ in kernel)
        chain.convolve(first.reshape(*first.shape, *ones))
        chain.convolve(core.reshape(*core.shape[:2], *kernel), **strided(chain.layer))
        chain.convolve(last.reshape(*last.shape, *ones), chain.bias)


def _behind(problem: Problem, first: np.ndarray, wide: np.ndarray) -> Problem:
    """The layer behind the first convolution, [M, (q, t)], in the metric of what that gives it."""
    inner, inputs = first.shape
    count = wide.shape[2]
    metric = problem.metric.reshape(inputs, count, inputs, count)
    reduced = np.einsum("qc,ctdu,pd->qtpu", first, metric, first, optimize=True).reshape(inner * count, -1)
    reduced[np.diag_indices(len(reduced))] += 1e-10 * np.trace(reduced) / len(reduced)
    return Problem(wide.reshape(len(wide), -1), reduced, np.zeros(len(reduced)), problem.energy)


def _nearest(rank: float) -> int:
    """A multiple of 4 near a number, at least 4."""
    return max(4, round(rank / 4) * 4)
