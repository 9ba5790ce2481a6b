"""The factors that reproduce a layer best in the metric of its inputs, one after the other: alternating least squares.

Ŵ is linear in each factor θ, Ŵ = A(θ), so with the others fixed

    min over θ of  tr( (W − A(θ)) C (W − A(θ))ᵀ )   ⟺   A*( A(θ) C ) = A*( W C )

A factor with an axis of outputs of its own needs one small system for all of them, T C Tᵀ θ = T C Wᵀ: T are the features that the
other factors make of the inputs. For the others the system has as many unknowns as the factor, so it is solved by conjugate
gradients (Hestenes and Stiefel 1952) from where the factor stands. Either way the error never grows.
"""

from collections.abc import Callable
from functools import partial

import numpy as np

from foldpress.optimizer.factorize.problem import Matrix, Problem
from foldpress.optimizer.factorize.product import Array, Product

_STEPS = 8  # of conjugate gradients; the factors move again in the next round
_JITTER = 1e-10  # relative to the mean of the diagonal: features may depend on each other
_ENOUGH = 1e-9  # of the squared gradient that is left


def fit(product: Product, problem: Problem, rounds: int) -> Product:
    """Refit every factor so many times, the last one, which gives the outputs, at the end of each round."""
    for _ in range(rounds):
        for number in range(len(product.factors)):
            product = refit(product, problem, number)
    return product


def refit(product: Product, problem: Problem, number: int) -> Product:
    """The product with its best factor `number`, or a better one."""
    own = own_output(product, number)
    solve = partial(_exactly, own=own) if own is not None else _by_gradients
    return product.with_factor(number, solve(product, problem, number))


def own_output(product: Product, number: int) -> str | None:
    """The label of outputs that only one factor has, or None."""
    others = "".join(product.labels[other] for other in product.others(number))
    return next((label for label in product.labels[number] if label in product.rows and label not in others), None)


def _exactly(product: Product, problem: Problem, number: int, *, own: str) -> Array:
    """T C Tᵀ and T C Wᵀ in one sum each, so that labels that T only passes on are never multiplied by zeros."""
    labels, others = product.labels[number], product.others(number)
    rest, weights = labels.replace(own, ""), [product.factors[other] for other in others]
    names = [product.labels[other] for other in others]
    again = str.maketrans({label: label.upper() for label in "".join(product.labels) if label not in product.rows})
    columns = product.columns
    metric = problem.metric.reshape(2 * [product.sizes[label] for label in columns])
    left, right = ",".join(names), ",".join(names).translate(again)
    spec = f"{left},{columns}{columns.translate(again)},{right}->{rest}{rest.translate(again)}"
    normal = np.einsum(spec, *weights, metric, *weights, optimize=True)
    unknowns = int(np.sqrt(normal.size))
    normal = normal.reshape(unknowns, unknowns)
    normal[np.diag_indices(unknowns)] += _JITTER * np.trace(normal) / unknowns + np.finfo(np.float64).tiny
    image = problem.image.reshape([product.sizes[label] for label in (*product.rows, *columns)])
    wanted = np.einsum(f"{left},{product.rows}{columns}->{rest}{own}", *weights, image, optimize=True)
    solved = np.linalg.solve(normal, wanted.reshape(unknowns, -1)).reshape(wanted.shape)
    return np.asarray(np.moveaxis(solved, -1, labels.index(own)), np.float64)


def _by_gradients(product: Product, problem: Problem, number: int) -> Array:
    others = [product.factors[other] for other in product.others(number)]
    names = [product.labels[other] for other in product.others(number)]
    spec = f"{product.rows}{product.columns},{','.join(names)}->{product.labels[number]}"
    sizes = [product.sizes[label] for label in (*product.rows, *product.columns)]

    def adjoint(weight: Matrix) -> Array:
        return np.asarray(np.einsum(spec, weight.reshape(sizes), *others, optimize=True))

    def normal(factor: Array) -> Array:
        return adjoint(product.with_factor(number, factor).dense() @ problem.metric)

    return _conjugate_gradients(normal, adjoint(problem.image), product.factors[number])


def _conjugate_gradients(normal: Callable[[Array], Array], target: Array, start: Array) -> Array:
    """A solution of normal(θ) = target, as far as a few steps come."""
    found, residual = start, target - normal(start)
    direction, left = residual, float(np.sum(residual**2))
    enough = _ENOUGH * float(np.sum(target**2))
    for _ in range(_STEPS):
        if left <= enough:
            break
        image = normal(direction)
        step = left / float(np.sum(direction * image))
        found, residual = found + step * direction, residual - step * image
        before, left = left, float(np.sum(residual**2))
        direction = residual + left / before * direction
    return found
