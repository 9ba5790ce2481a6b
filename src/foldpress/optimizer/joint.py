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

from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from scipy.optimize import minimize

from foldpress.data import Dataset
from foldpress.optimizer.activations import observe
from foldpress.optimizer.groups import Slot
from foldpress.optimizer.layers import Matrices
from foldpress.optimizer.pairs import Pair, Weights
from foldpress.optimizer.patches import Rows, columns, spread
from foldpress.optimizer.places import aim
from foldpress.optimizer.side_by_side import original_name, side_by_side

_STEPS = 12  # on ResNet-20, 40 leave 3 % less of the error
_PATIENCE = 2  # steps without a gain on what is held out
_HELD_OUT = 4  # every fourth sample
_RIDGE = 3e-3  # of E [x; 1] [x; 1]ᵀ, relative to its diagonal, so that no channel's scale matters
_BYTES = 2**26  # of what the first layer sums over; at all places, so that fewer samples may be taken than there are

Vector = NDArray[np.float64]


def fit_together(original: ir.Model, pruned: ir.Model, pair: Pair, samples: Dataset) -> None:
    """Change the weights of both layers in `pruned`, in place, unless samples held out get worse by it.

    Args:
        original: the graph with shapes that `pruned` was made of.
        pruned: the same graph, where the layers before the pair, and the second one of it, are repaired.
        pair: of a layer that has lost features, and the one before it.
        samples: without labels.
    """
    first = _observed(original, pruned, pair, samples.select(np.zeros(1, np.intp)))
    count = min(len(samples), _BYTES // first.inputs.nbytes)
    chosen = np.linspace(0, len(samples) - 1, count).astype(np.intp)
    held_out = np.arange(count) % _HELD_OUT == 1
    if held_out.any():
        fitted, judge = (
            _observed(original, pruned, pair, samples.select(chosen[part])) for part in (~held_out, held_out)
        )
        pair.store(pruned, descend(fitted, judge, pair.weights(pruned)))


@dataclass(frozen=True, eq=False)
class Given:
    """What a pair is given for some samples, and what is to come of it.

    Args:
        pair: the layers.
        inputs: x of the first layer at all places, with ones for the bias: [n, D].
        rest: u, what the second layer adds to at all places: [m, M].
        wanted: v*, [m, M].
        places: shape of what is between the layers, without channels; for a convolution [samples, sizes…].
    """

    pair: Pair
    inputs: Rows
    rest: Rows
    wanted: Rows
    places: tuple[int, ...]

    def run(self, weights: Weights) -> tuple[Rows, Rows, Rows]:
        """What the first layer gives, [n, C], what the second one sums over, [m, D], and what v lacks, [m, M]."""
        first, second = (matrix.astype(np.float32) for matrix in weights)
        inner = self.inputs @ first
        seen = columns(self._slot, self._between(np.maximum(inner, 0)))
        if len(second) > seen.shape[1]:
            seen = np.concatenate([seen, np.ones((len(seen), 1), np.float32)], axis=1)
        value = self.rest + seen @ second
        return inner, seen, aim(value, self.wanted, rectified=self.pair.second.rectified) - value

    def loss(self, weights: Weights) -> float:
        """The mean over places of what v lacks, squared and summed over outputs."""
        return _loss(self.run(weights)[2])

    def slope(self, weights: Weights) -> tuple[float, Weights]:
        """The loss, and its gradient with respect to both weights."""
        inner, seen, lack = self.run(weights)
        back = lack @ weights[1][: len(self.pair.second.kept)].astype(np.float32).T
        passed = by_place(spread(self._slot, back, self._between(inner).shape), self._axis)
        passed[inner <= 0] = 0
        first, second = (
            -2 / len(lack) * (x.T @ y).astype(np.float64) for x, y in ((self.inputs, passed), (seen, lack))
        )
        return _loss(lack), (first, second)

    @property
    def _slot(self) -> Slot:
        return self.pair.second.layer.slot

    @property
    def _axis(self) -> int:
        return self.pair.second.layer.channel_axis

    def _between(self, inner: Rows) -> Rows:
        """[n, C] as the second layer is given it."""
        return np.moveaxis(inner.reshape(*self.places, -1), -1, self._axis)


class Coordinates:
    """V, as one vector, for the weights of a pair around W⁰."""

    def __init__(self, given: Given, start: Weights) -> None:
        self._start, self._split = start, start[0].size
        _, seen, lack = given.run(start)
        channels = start[1][: len(given.pair.second.kept)].reshape(start[0].shape[1], -1)
        norms = np.linalg.norm(channels, axis=1)
        self._factors = _whitening(given.inputs), _whitening(seen)
        self.unit = _loss(lack)
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
    losses, found = [judge.loss(start)], [start]

    def objective(vector: Vector) -> tuple[float, Vector]:
        loss, slope = fitted.slope(coordinates.weights(vector))
        return loss / coordinates.unit, coordinates.slope(slope) / coordinates.unit

    def judged(vector: Vector) -> None:
        found.append(coordinates.weights(vector))
        losses.append(judge.loss(found[-1]))
        if np.argmin(losses) < len(losses) - _PATIENCE:
            raise StopIteration

    options = {"maxiter": _STEPS, "ftol": 0, "gtol": 0}
    minimize(objective, coordinates.origin, jac=True, method="L-BFGS-B", callback=judged, options=options)
    return found[int(np.argmin(losses))]


def by_place(values: Rows, axis: int) -> Rows:
    """A tensor with channels along an axis as [places, channels]."""
    return np.moveaxis(values, axis, -1).reshape(-1, values.shape[axis])


def _loss(lack: Rows) -> float:
    return float(np.square(lack).sum(dtype=np.float64)) / len(lack)


def _whitening(rows: Rows) -> Matrices:
    """L⁻ᵀ, [D, D]."""
    gram = (rows.T @ rows).astype(np.float64) / len(rows)
    energy = np.maximum(np.diag(gram), np.finfo(np.float32).tiny)
    return np.asarray(np.linalg.inv(np.linalg.cholesky(gram + np.diag(_RIDGE * energy))).T)


def _observed(original: ir.Model, pruned: ir.Model, pair: Pair, samples: Dataset) -> Given:
    sums = str(pair.second.value.name)
    names = str(pair.first.input.name), str(pair.second.layer.input.name), sums, original_name(sums)
    parts: dict[int, list[Rows]] = {number: [] for number in range(len(names))}
    graph, axis = side_by_side(original, pruned, names), pair.second.layer.channel_axis
    # No budget: all are needed of a sample at once.
    for tensor, _, values in observe(graph, names, samples, np.arange(len(samples)), label="repairing", budget=2**62):
        if tensor == 1:
            places = np.moveaxis(values, axis, -1).shape[1:-1]
        else:
            parts[tensor].append(by_place(values, axis) if tensor else pair.inputs(pruned, values))
    inputs, value, wanted = (np.concatenate(part) for part in (parts[0], parts[2], parts[3]))
    between = (len(samples), *places) if pair.first.node.op_type == "Conv" else (len(inputs),)
    given, weights = Given(pair, inputs, value, wanted, between), pair.weights(pruned)
    return replace(given, rest=value - given.run(weights)[1] @ weights[1].astype(np.float32))
