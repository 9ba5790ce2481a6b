"""What a form of factorization is: which layers take it, with which ranks, where the fit starts, and how it runs."""

from typing import Protocol

import numpy as np
import onnx_ir as ir

from foldpress.optimizer.factorize.chain import Chain
from foldpress.optimizer.factorize.problem import Problem
from foldpress.optimizer.factorize.product import Product
from foldpress.optimizer.layers import Layer

Shape = tuple[int, ...]  # of a weight: outputs, inputs and, of a convolution, taps along each axis
Rank = tuple[int, ...]

MOST = 8  # ranks that are tried of each form
_STEPS = (4, 8)  # that ranks go by: kernels step at multiples of 4, wide ones of 8 and 16
_NARROW = 32  # up to this many, by the smaller step


class Form(Protocol):
    """One form. A weight of shape [M, C, taps…] becomes a `Product` of smaller ones, a layer a chain of smaller ones."""

    @property
    def name(self) -> str:
        """What recipes and logs call it."""

    def why_not(self, layer: Layer) -> str | None:
        """Why a layer cannot take it, or None where it can."""

    def ranks(self, shape: Shape) -> list[Rank]:
        """Those with fewer parameters than the layer, at most `MOST`."""

    def empty(self, shape: Shape, rank: Rank) -> Product:
        """The product with factors of zeros."""

    def start(self, problem: Problem, shape: Shape, rank: Rank) -> Product:
        """Good factors, by a closed form."""

    def build(self, chain: Chain, product: Product) -> None:
        """Add the nodes that compute the product."""


def weight_shape(layer: Layer) -> Shape:
    """[M, D] of a matrix, [M, C, taps…] of a convolution's weight."""
    stored = tuple((layer.weight.shape or ir.Shape([])).numpy())
    return stored[::-1] if layer.transposed else stored


def taps(shape: Shape) -> int:
    """How many places of its input a kernel sees."""
    return int(np.prod(shape[2:]))


def zeros(spec: str, *shapes: Shape) -> Product:
    """A product of nothing."""
    return Product(spec, tuple(np.zeros(shape) for shape in shapes))


def stepped(limit: float, most: int = MOST) -> list[int]:
    """At most so many ranks below a limit, evenly spaced, in multiples of what kernels step at, the largest first."""
    step = _STEPS[limit > _NARROW]
    while limit > step * (most + 1):
        step *= 2
    return list(range(step, int(np.ceil(limit)), step))[::-1]


def is_plain(layer: Layer) -> str | None:
    """Why a layer is neither a matrix nor a convolution over all channels, or None where it is."""
    return "each of its groups has a few channels of its own" if layer.groups > 1 else None
