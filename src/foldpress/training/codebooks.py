"""Weights that are read from a codebook: training moves the values, and every weight keeps its place.

The gradient of a value is the sum over the weights that take it (Han et al. 2016, arXiv:1510.00149, §3.3), which is what
differentiating weight = values[places] gives.
"""

from collections.abc import Collection, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.utils import parametrize

Places = NDArray[np.intp]


class Reading(torch.nn.Module):
    """weight = values[places]; where `zero`, place 0 is zero for good, and values begin at place 1."""

    places: torch.Tensor

    def __init__(self, places: torch.Tensor, *, zero: bool) -> None:
        super().__init__()
        self.register_buffer("places", places)
        self._zero = zero

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """The weight that these values make."""
        if self._zero:
            values = torch.cat([values.new_zeros(1), values])
        weight: torch.Tensor = values[self.places]
        return weight

    def right_inverse(self, weight: torch.Tensor) -> torch.Tensor:
        """The values of a weight that is constant over each place."""
        values = weight.new_zeros(int(self.places.max()) + 1)
        values.scatter_(0, self.places.flatten(), weight.flatten())
        return values[1:] if self._zero else values


def read_from_codebooks(module: torch.nn.Module, places: Mapping[str, Places], zeros: Collection[str]) -> None:
    """Let parameters be read from codebooks, in place: from now on their values are what is trained.

    Args:
        module: its parameters hold one value for each place already.
        places: the place of every weight, by the parameter's name.
        zeros: parameters whose place 0 is zero for good.
    """
    for name, found in places.items():
        owner, _, last = name.rpartition(".")
        reading = Reading(torch.from_numpy(found), zero=name in zeros)
        parametrize.register_parametrization(module.get_submodule(owner), last, reading)


def write_back(module: torch.nn.Module, kind: type[torch.nn.Module] = Reading) -> None:
    """Make plain parameters of all that is read from codebooks, or made by another `kind` of parametrization, in place."""
    module.zero_grad()  # gradients of values would stay with the weights that they become, and fit no copy of them
    for part in module.modules():
        for name in list(getattr(part, "parametrizations", {})):
            if any(isinstance(one, kind) for one in part.parametrizations[name]):  # type: ignore[index]
                parametrize.remove_parametrizations(part, name)
