"""Weights that are products of smaller ones: training moves the factors, so a weight keeps its rank, or whatever form it has.

The gradient of a factor is that of the product, by the chain rule; PyTorch's einsum knows it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.utils import parametrize


@dataclass(frozen=True, eq=False)
class Part:
    """What of a parameter is a product.

    Args:
        equation: the product's Einstein sum, with one term for each factor.
        factors: where they start.
        places: positions in the flattened parameter, in the order of the product's numbers.
    """

    equation: str
    factors: tuple[NDArray[np.float64], ...]
    places: NDArray[np.intp]


class Factored(torch.nn.Module):
    """A parameter of which parts are products; the rest of it is trained as it stands."""

    def __init__(self, parts: Sequence[Part]) -> None:
        super().__init__()
        self._parts = [(part.equation, len(part.factors)) for part in parts]
        self._starts = [torch.from_numpy(one.astype(np.float32)) for part in parts for one in part.factors]
        for number, part in enumerate(parts):
            self.register_buffer(f"places{number}", torch.from_numpy(part.places.ravel()))

    def forward(self, rest: torch.Tensor, *factors: torch.Tensor) -> torch.Tensor:
        """The parameter."""
        flat, left = rest.flatten(), list(factors)
        for number, (equation, count) in enumerate(self._parts):
            product = torch.einsum(equation, *left[:count])
            flat, left = flat.index_copy(0, self.get_buffer(f"places{number}"), product.flatten()), left[count:]
        return flat.view_as(rest)

    def right_inverse(self, weight: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The rest, and the factors as they start."""
        return weight, *(start.to(weight) for start in self._starts)


def learn_factors(module: torch.nn.Module, parts: Mapping[str, Sequence[Part]]) -> None:
    """Let parts of parameters be products, in place: from now on their factors are what is trained.

    Args:
        module: a network.
        parts: by the names of its parameters; of one parameter, no two overlap.
    """
    for name, found in parts.items():
        owner, _, last = name.rpartition(".")
        parametrize.register_parametrization(module.get_submodule(owner), last, Factored(found))


def rest_of(name: str) -> str:
    """What a parameter that holds products is called meanwhile: the rest, which has its shape."""
    owner, dot, last = name.rpartition(".")
    return f"{owner}{dot}parametrizations.{last}.original0"
