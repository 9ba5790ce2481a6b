"""Kronecker sums: a matrix as a sum of r Kronecker products, run as reshape, multiply, transpose, multiply.

With the inputs numbered (b, d) and the outputs (c, a),

    Ŵ_ca,bd = Σ_r L_rab R_rcd

which is Σ L_r ⊗ R_r but for the order of the outputs; so one transposition is enough. Rearranged to [(a, b), (c, d)] the matrix
has rank r (Van Loan and Pitsianis 1993): its singular value decomposition is where the fit starts. It goes on in the metric of
the inputs, in which each side has a closed form.
"""

import numpy as np

from foldpress.optimizer.factorize.chain import Chain
from foldpress.optimizer.factorize.fitting import fit
from foldpress.optimizer.factorize.form import Rank, Shape, weight_shape, zeros
from foldpress.optimizer.factorize.problem import Problem
from foldpress.optimizer.factorize.product import Product
from foldpress.optimizer.layers import Layer

SPEC = "rab,rcd->ca|bd"
_TERMS = (8, 4, 2, 1)
_LEAST = 4  # of each size; smaller ones leave nothing to multiply
_ROUNDS = 3  # of the first fit: the decomposition that it starts from knows nothing of the inputs


class Kronecker:
    """See `form.Form`; a rank is r."""

    name = "kronecker"

    def why_not(self, layer: Layer) -> str | None:
        """A convolution would have to be taken apart first."""
        if layer.node.op_type == "Conv":
            return "it is a convolution"
        return None if min(split(size)[0] for size in weight_shape(layer)) >= _LEAST else "too few inputs or outputs"

    def ranks(self, shape: Shape) -> list[Rank]:
        """The number of terms; a layer with fewer parameters may still have more to do, and then has no such rank."""
        (c, a), (b, d) = split(shape[0]), split(shape[1])
        return [(terms,) for terms in _TERMS if terms * b * c * (a + d) < shape[0] * shape[1]]

    def empty(self, shape: Shape, rank: Rank) -> Product:
        """L [r, a, b], R [r, c, d]."""
        (c, a), (b, d) = split(shape[0]), split(shape[1])
        return zeros(SPEC, (*rank, a, b), (*rank, c, d))

    def start(self, problem: Problem, shape: Shape, rank: Rank) -> Product:
        """From the rearranged matrix, a few rounds."""
        (c, a), (b, d) = split(shape[0]), split(shape[1])
        rearranged = problem.weight.reshape(c, a, b, d).transpose(1, 2, 0, 3).reshape(a * b, c * d)
        left, values, right = np.linalg.svd(rearranged, full_matrices=False)
        share = np.sqrt(values[: rank[0], None])
        factors = (left.T[: rank[0]] * share).reshape(-1, a, b), (right[: rank[0]] * share).reshape(-1, c, d)
        return fit(Product(SPEC, factors), problem, _ROUNDS)

    def build(self, chain: Chain, product: Product) -> None:
        """Two matrices; a bias is added behind the last reshape."""
        left, right = product.factors
        (terms, a, b), (_, c, d) = left.shape, right.shape
        front = list(range(chain.leading))
        chain.reshape(b, d)
        chain.add("MatMul", chain.weight(right.reshape(-1, d).T))
        chain.reshape(b, terms, c)
        chain.add("Transpose", perm=[*front, *(len(front) + axis for axis in (2, 1, 0))])
        chain.reshape(c, terms * b)
        chain.add("MatMul", chain.weight(left.transpose(0, 2, 1).reshape(-1, a)))
        chain.reshape(c * a)
        if chain.bias is not None:
            chain.add("Add", chain.bias)


def split(size: int) -> tuple[int, int]:
    """The two factors of a number that are closest to each other, the smaller first."""
    smaller = next(one for one in range(int(size**0.5), 0, -1) if size % one == 0)
    return smaller, size // smaller
