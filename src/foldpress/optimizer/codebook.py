"""A few values that all weights of a layer share: which ones, and which of them each weight takes.

Weights w [R, D], the rows of a layer, become ŵ with K different values, those of the tensor or those of each row. What that
costs, outputs tell: with H = E[x xᵀ] of the layer's inputs, row r is wrong by (w − ŵ)ᵀ H (w − ŵ).

values      by the diagonal of H alone: optimal k-means, or −a and a, and 0 where they are ternary
choice      one input after the other, each error corrected by the inputs that are still to come (`gptq`)
refit       of the values, given who takes which, by all of H: least squares in K unknowns

The last two take turns. A weight of zero was pruned: it stays zero, beside the K values.

Where weights are to be int8, every row has a scale s = max |w| / levels, and the shared values are integers, which all rows
multiply by their own scale. The largest weight of a row stays as it is, for the quantizer takes the scale from it.
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from foldpress.optimizer.gptq import corrected_in_order, damped, squared_error
from foldpress.optimizer.kmeans import optimal_centers
from foldpress.optimizer.layers import Matrices
from foldpress.optimizer.weight_grid import grid_scales

Method = Literal["kmeans", "binary", "ternary"]
Per = Literal["tensor", "channel"]
Floats = NDArray[np.float64]
Places = NDArray[np.intp]

_ROUNDS = 2  # of choice and refit: the first gains nearly all, a third nothing
_HELD = 1e-9  # of the energy behind all values: how much one that no weight takes is held where it was


@dataclass(frozen=True, eq=False)
class Codebook:
    """The values that may be taken, in order, [P, K], P = 1 or R; each row of them is `basis` [K, C] times C free numbers."""

    values: Floats
    basis: Floats

    def places(self, weights: Floats) -> Places:
        """The place of the value that is nearest to each weight, [R, n]."""
        middles = (self.values[:, 1:] + self.values[:, :-1]) / 2
        places = np.zeros(weights.shape, np.intp)
        for column in range(middles.shape[1]):
            places += weights > middles[:, column, None]
        return places

    def at(self, places: Places) -> Floats:
        """The values at these places, [R, n]."""
        values = np.broadcast_to(self.values, (len(places), self.values.shape[1]))
        return np.take_along_axis(values, places, 1)

    def nearest(self, weights: Floats) -> Floats:
        """The value that is nearest to each weight, [R, n]."""
        return self.at(self.places(weights))


def shared(
    weight: Matrices, hessian: Matrices, method: Method, count: int, per: Per, levels: int | None = None
) -> Matrices:
    """The weight with shared values, [G, M, D].

    Args:
        weight: W of every group; what is 0 in it stays 0.
        hessian: E[x xᵀ] of each group, [G, D, D].
        method: how values are found.
        count: K of k-means, beside zero.
        per: what has values of its own.
        levels: the largest integer, where values are to be integers times the scale of each row.
    """
    layer = _in_integers(weight, hessian, levels) if levels else _Problem(weight, weight != 0, hessian)
    book = layer.first_book(method, count, per)
    best, least = weight, np.inf
    for turn in range(_ROUNDS + 1):
        places = book.places(layer.in_order(book) if turn else layer.rows)
        book = layer.refitted(book, places)
        if levels:
            book = replace(book, values=book.values.round().clip(-levels, levels))
        found = layer.taking(book, places)
        if (error := squared_error(found - weight, hessian)) < least:
            best, least = found, error
        book = replace(book, values=np.sort(book.values, axis=1))
    return best


@dataclass(frozen=True, eq=False)
class _Problem:
    """A layer in units of each row's scale: W [G, M, D], the weights that take a value, E[x xᵀ] [G, D, D], scales [G, M, 1]."""

    weight: Matrices
    free: NDArray[np.bool_]
    hessian: Matrices
    scales: Matrices | float = 1.0

    @property
    def rows(self) -> Floats:
        return self.weight.reshape(-1, self.weight.shape[-1])

    def first_book(self, method: Method, count: int, per: Per) -> Codebook:
        """The values by the diagonal of H alone."""
        diagonal = np.diagonal(damped(self.hessian), axis1=1, axis2=2)[:, None]
        costs = np.broadcast_to(diagonal, self.weight.shape) * self.free * np.square(self.scales)
        shape = (1, -1) if per == "tensor" else self.rows.shape
        return _first(self.weight.reshape(shape), costs.reshape(shape), method, count)

    def in_order(self, book: Codebook) -> Floats:
        """What every weight becomes once errors are corrected by the inputs that are still to come, [R, D]."""

        def choose(column: int, left: Matrices) -> Matrices:
            nearest = book.nearest(left.reshape(-1, 1)).reshape(left.shape)
            return np.where(self.free[..., column], nearest, self.weight[..., column])

        return corrected_in_order(self.weight, self.hessian, choose).reshape(self.rows.shape)

    def refitted(self, book: Codebook, places: Places) -> Codebook:
        """The values of least squared error where every weight takes the value at its place, [R, D]."""
        rows, size, metric = len(book.values), book.basis.shape[1], damped(self.hessian)
        normal, target = np.zeros((rows, size, size)), np.zeros((rows, size))
        squares = np.broadcast_to(np.square(self.scales), (*self.weight.shape[:2], 1))
        for number, (group, row) in enumerate(np.ndindex(self.weight.shape[:2])):
            free = self.free[group, row]
            taken = book.basis[places[number]] * free[:, None]
            seen = squares[group, row] * (metric[group] @ taken)
            normal[number % rows] += taken.T @ seen
            target[number % rows] += (self.weight[group, row] * free) @ seen
        held = np.trace(normal, axis1=1, axis2=2)[:, None] * _HELD + np.finfo(float).tiny
        old = np.linalg.lstsq(book.basis, book.values.T, rcond=None)[0].T
        found = np.linalg.solve(normal + held[..., None] * np.eye(size), (target + held * old)[..., None])[..., 0]
        return replace(book, values=found @ book.basis.T)

    def taking(self, book: Codebook, places: Places) -> Matrices:
        """The weight, [G, M, D], that takes the values at these places."""
        return np.where(self.free, book.at(places).reshape(self.weight.shape), self.weight) * self.scales


def _in_integers(weight: Matrices, hessian: Matrices, levels: int) -> _Problem:
    """A layer in integers of the quantizer, where the largest weight of each row is ±levels."""
    scales = grid_scales(weight, levels).astype(np.float64)
    peak = np.abs(weight).argmax(-1, keepdims=True) == np.arange(weight.shape[-1])
    return _Problem(weight / scales, (weight != 0) & ~peak, hessian, scales)


def _first(weights: Floats, costs: Floats, method: Method, count: int) -> Codebook:
    """The values of least Σ costs (w − ŵ)² for each row of weights, [P, n]."""
    if method == "kmeans":
        return Codebook(optimal_centers(weights, costs, count), np.eye(count))
    basis = np.array([[-1.0], [1.0]] if method == "binary" else [[-1.0], [0.0], [1.0]])
    mean = _mean_magnitude if method == "binary" else _ternary_magnitude
    return Codebook(mean(np.abs(weights), costs)[:, None] * basis.T, basis)


def _mean_magnitude(magnitudes: Floats, costs: Floats) -> Floats:
    """The best a for a · sign(w), by row: Σ c |w| / Σ c (Rastegari et al. 2016, arXiv:1603.05279, eq. 6)."""
    total = costs.sum(1)
    return np.asarray((costs * magnitudes).sum(1) / np.where(total > 0, total, 1))


def _ternary_magnitude(magnitudes: Floats, costs: Floats) -> Floats:
    """The best a where the weights nearest to zero become zero, by row (Li and Liu 2016, arXiv:1605.04711, eq. 5).

    Those of largest magnitude are left; a is their mean, and of all n of them that explain most, (Σ c |w|)² / Σ c.
    """
    order = np.argsort(-magnitudes, axis=1, kind="stable")
    mass = np.cumsum(np.take_along_axis(costs, order, 1), axis=1)
    first = np.cumsum(np.take_along_axis(costs * magnitudes, order, 1), axis=1)
    means = first / np.where(mass > 0, mass, 1)
    return np.take_along_axis(means, np.argmax(means * first, axis=1)[:, None], 1)[:, 0]
