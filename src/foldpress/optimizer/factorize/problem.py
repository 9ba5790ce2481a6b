"""One layer as a least-squares problem: what a change of its weight does to its outputs on calibration samples.

For y = W x + b, another weight Ŵ with the bias that goes best with it, b + (W − Ŵ) E[x], leaves the squared error

    E ‖y − ŷ‖² = tr( (W − Ŵ) C (W − Ŵ)ᵀ ),   C = E[(x − E[x]) (x − E[x])ᵀ]

Where there is no place for a bias, C is E[x xᵀ]. Both follow from the layer's Gram matrix, which adds up over samples.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]

# Relative to the mean feature energy, as for repair: features that depend on each other must not make a solution blow up.
RIDGE = 1e-4


@dataclass(frozen=True, eq=False)
class Problem:
    """W [M, D], the metric C [D, D] of its inputs, E[x] [D] (zeros without a bias), and tr(W C Wᵀ), the outputs' variance."""

    weight: Matrix
    metric: Matrix
    mean: Matrix
    energy: float

    @cached_property
    def image(self) -> Matrix:
        """W C, [M, D]."""
        return np.asarray(self.weight @ self.metric)

    def error(self, weight: Matrix) -> float:
        """Squared error of another weight's outputs, relative to their variance."""
        gap = self.weight - weight
        return float(np.sum((gap @ self.metric) * gap)) / self.energy

    def fitted_error(self, weight: Matrix) -> float:
        """The error of a weight whose factor of outputs is the best there is: what it leaves is orthogonal to what it gives."""
        return max(0.0, 1 - float(np.sum(weight * self.image)) / self.energy)

    def bias_change(self, weight: Matrix) -> Matrix:
        """What has to be added to the bias, [M], with another weight."""
        return np.asarray((self.weight - weight) @ self.mean)


def make_problem(weight: Matrix, gram: Matrix) -> Problem:
    """Set up a layer.

    Args:
        weight: W, [M, D].
        gram: G = Σ [x; 1] [x; 1]ᵀ, [D + 1, D + 1], for a layer with a place for a bias; or without, Σ x xᵀ / n, [D, D].
    """
    inputs = weight.shape[1]
    mean = gram[-1, :-1] / gram[-1, -1] if len(gram) > inputs else np.zeros(inputs)
    second = gram[:-1, :-1] / gram[-1, -1] if len(gram) > inputs else gram
    metric = second - np.outer(mean, mean)
    metric = (metric + metric.T) / 2
    metric[np.diag_indices(inputs)] += max(RIDGE * np.trace(second) / inputs, float(np.finfo(np.float32).tiny))
    return Problem(weight, metric, mean, float(np.sum((weight @ metric) * weight)) or float(np.finfo(np.float32).tiny))


def principal_inputs(rows: Matrix, metric: Matrix, rank: int) -> Matrix:
    """B [rank, D] for which Ŵ = A B with the best A is the best approximation of W of that rank in the metric of its inputs.

    With X = W L, C = L Lᵀ and the leading left singular vectors U of X, that is B = Uᵀ W, and A = U: then Ŵ L is the
    truncated singular value decomposition of X (Eckart and Young 1936), the principal components of the layer's outputs.

    Args:
        rows: W, [M, D].
        metric: C, [D, D], positive definite.
        rank: at most min(M, D).
    """
    if len(rows) <= rows.shape[1]:
        return np.asarray(_leading(rows @ metric @ rows.T, rank).T @ rows)
    scaled = rows @ np.linalg.cholesky(metric)
    images = scaled @ _leading(scaled.T @ scaled, rank)
    norms = np.linalg.norm(images, axis=0)
    return np.asarray((images / np.maximum(norms, np.finfo(np.float64).tiny)).T @ rows)


def _leading(symmetric: Matrix, count: int) -> Matrix:
    """The eigenvectors of the largest eigenvalues, [n, count], the largest first."""
    return np.asarray(np.linalg.eigh(symmetric)[1][:, ::-1][:, :count])
