"""Fit two layers together: the one that makes the channels that are left, and the one that consumes them.

Alone, the second can only make do with the channels that happen to be left. Together, the first turns them into those that serve
the second best. With x what the first sums over, a rectifier between them, and v the value that the second adds to,

    min over W₁, b₁, W₂, b₂ of  E ‖v* − v‖²,   v = u + W₂ max(0, W₁ x + b₁) + b₂

where a rectifier behind v passes it (see `places.aim`); v* is that of the original network. It is solved by L-BFGS (Liu and
Nocedal 1989), from where each layer was solved by itself, in coordinates V in which all directions weigh about the same:

    W = W⁰ + L⁻ᵀ V / d,   E [x; 1] [x; 1]ᵀ = L Lᵀ

where d is, over the root of the loss at W⁰, 1 for the second layer, and for the first the norm of each channel's weights in the
second. These are the factors of the curvature that K-FAC inverts (Martens and Grosse 2015, arXiv:1503.05671). A quarter of
the samples is held out, and the steps end where these get worse: so layers with more weights than the samples can tell stay as
they are.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from foldpress.optimizer.frontier import Frontier
from foldpress.optimizer.layers import Matrices
from foldpress.optimizer.pair_samples import Given, given_to
from foldpress.optimizer.pairs import Pair, Weights
from foldpress.optimizer.patches import Rows

_STEPS = 12  # on ResNet-20, 40 leave 3 % less of the error
_PATIENCE = 2  # steps without a gain on what is held out
_HELD_OUT = 4  # every fourth sample
_RIDGE = 3e-3  # of E [x; 1] [x; 1]ᵀ, relative to its diagonal, so that no channel's scale matters
# Of both layers: more are more than hundreds of samples can tell. On ResNet-20, none of 70,000 is borne out by those held out.
_WEIGHTS = 2**18
_BYTES = 2**26  # of what either layer sums over; at all places, so that fewer samples may be taken than there are

Vector = NDArray[np.float64]


def fit_together(pair: Pair, networks: Frontier) -> None:
    """Change the weights of both layers in the changed network, in place, unless samples held out get worse by it.

    Very large layers, of which a sample would take too much memory, or whose weights are too many to tell, stay as they are.

    Args:
        pair: of a layer that has lost features, and the one before it.
        networks: the changed one has the layers before the pair, and the second one of it, repaired.
    """
    pruned, samples = networks.changed, networks.samples
    start = pair.weights(pruned)
    if sum(part.size for part in start) > _WEIGHTS:
        return
    first = given_to(pair, networks.select(np.zeros(1, np.intp)))
    count = min(len(samples), _BYTES // max(first.inputs.nbytes, first.run(start)[1].nbytes))
    chosen = np.linspace(0, len(samples) - 1, count).astype(np.intp)
    held_out = np.arange(count) % _HELD_OUT == 1
    if held_out.any():
        fitted, judge = (given_to(pair, networks.select(chosen[part])) for part in (~held_out, held_out))
        pair.store(pruned, descend(fitted, judge, start))


class Coordinates:
    """V, as one vector, for the weights of a pair around W⁰."""

    def __init__(self, given: Given, start: Weights) -> None:
        self._start, self._split = start, start[0].size
        _, seen, _ = given.run(start)
        channels = start[1][: len(given.pair.second.kept)].reshape(start[0].shape[1], -1)
        norms = np.linalg.norm(channels, axis=1)
        self._factors = _whitening(given.inputs), _whitening(seen)
        self.unit = given.loss(start)
        divisors = np.where(norms > 0, norms, 1), np.ones(start[1].shape[1])
        self._divisors = tuple(divisor / self.unit**0.5 for divisor in divisors)

    def weights(self, vector: Vector) -> Weights:
        """W = W⁰ + L⁻ᵀ V / d of both."""
        parts = [
            part.reshape(before.shape)
            for part, before in zip(np.split(vector, [self._split]), self._start, strict=True)
        ]
        first, second = (
            before + factor @ part / divisor
            for before, factor, part, divisor in zip(self._start, self._factors, parts, self._divisors, strict=True)
        )
        return first, second

    def slope(self, weights: Weights) -> Vector:
        """The gradient with respect to V, of that with respect to W."""
        parts = zip(self._factors, weights, self._divisors, strict=True)
        return np.concatenate([(factor.T @ part / divisor).ravel() for factor, part, divisor in parts])

    @property
    def origin(self) -> Vector:
        """V of W⁰."""
        return np.zeros(sum(part.size for part in self._start))


def descend(fitted: Given, judge: Given, start: Weights) -> Weights:
    """The weights that serve `judge` best, of those on the way from `start` to where `fitted` is served best."""
    if not fitted.loss(start):
        return start
    coordinates = Coordinates(fitted, start)
    best = _Best(judge, start)

    def objective(vector: Vector) -> tuple[float, Vector]:
        loss, slope = fitted.slope(coordinates.weights(vector))
        return loss / coordinates.unit, coordinates.slope(slope) / coordinates.unit

    def step(vector: Vector) -> None:
        best.offer(coordinates.weights(vector))

    options = {"maxiter": _STEPS, "ftol": 0, "gtol": 0}
    minimize(objective, coordinates.origin, jac=True, method="L-BFGS-B", callback=step, options=options)
    return best.weights


class _Best:
    """The best weights so far, by samples held out."""

    def __init__(self, judge: Given, start: Weights) -> None:
        self._judge, self.weights, self._loss, self._waited = judge, start, judge.loss(start), 0

    def offer(self, weights: Weights) -> None:
        """Keep them if they are better; ends the descent where the last few were not."""
        loss = self._judge.loss(weights)
        self._waited += 1
        if loss < self._loss:
            self.weights, self._loss, self._waited = weights, loss, 0
        if self._waited == _PATIENCE:
            raise StopIteration  # as scipy wants it


def _whitening(rows: Rows) -> Matrices:
    """L⁻ᵀ, [D, D]."""
    gram = (rows.T @ rows).astype(np.float64) / len(rows)
    energy = np.maximum(np.diag(gram), np.finfo(np.float32).tiny)
    return np.asarray(np.linalg.inv(np.linalg.cholesky(gram + np.diag(_RIDGE * energy))).T)
