"""Shared weights that training goes on with: the values are chosen by k-means, and then learn."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from foldpress.errors import ModelError
from foldpress.optimizer.kmeans import nearest, optimal_centers

if TYPE_CHECKING:
    import torch

    from foldpress.training.losses import Loss
    from foldpress.training.plan import Plan
    from foldpress.training.samples import Pool
    from foldpress.training.teachers import Teacher

_SLOWER = 4  # than the training before: the values are nearly right, and each moves for thousands of weights


@dataclass(frozen=True)
class Tuning:
    """How many bits the places of all weights have, other numbers of some layers, and how long the values learn."""

    bits: int
    epochs: int
    layers: Mapping[str, int] = field(default_factory=dict)

    def run(
        self,
        module: "torch.nn.Module",
        bits: Mapping[str, int],
        pool: "Pool",
        teachers: Sequence["Teacher"],
        loss: "Loss",
        plan: "Plan",
        **heard: Any,
    ) -> None:
        """Let a module's weights share values, and train these, in place; see `foldpress.training.distillation.distill`.

        Args:
            module: a trained network.
            bits: by the names of its parameters.
            pool: what to train on.
            teachers: whom it has learned from.
            loss: of a batch.
            plan: of the training before.
            **heard: features that are compared, and the output that is learned.
        """
        from foldpress.training.codebooks import write_back
        from foldpress.training.distillation import distill

        share_parameters(module, bits)
        slower = replace(plan, epochs=self.epochs, learning_rate=plan.learning_rate / _SLOWER)
        distill(module, pool, teachers, loss, slower, label="fine-tuning shared values", **heard)
        write_back(module)


def share_parameters(module: "torch.nn.Module", bits: Mapping[str, int]) -> None:
    """Let the weights of parameters share 2^bits values, zero being one of them where weights are pruned, in place.

    Values start as those of optimal k-means (`foldpress.optimizer.kmeans`). They are trained as they stand;
    `foldpress.training.codebooks.write_back` makes plain parameters of them again.

    Args:
        module: a network.
        bits: 1 to 8, by the names of its parameters.

    Raises:
        ModelError: there is no parameter of such a name.
    """
    import torch

    from foldpress.training.codebooks import read_from_codebooks

    known = dict(module.named_parameters())
    if missing := sorted(bits.keys() - known.keys()):
        raise ModelError(f"there is no parameter {', '.join(missing)}", available=", ".join(known))
    found = {name: _shared(known[name].detach().cpu().double().numpy(), count) for name, count in bits.items()}
    with torch.no_grad():
        for name, (weight, _) in found.items():
            known[name].copy_(torch.from_numpy(weight))
    zeros = [name for name, (weight, _) in found.items() if (weight == 0).any()]
    read_from_codebooks(module, {name: places for name, (_, places) in found.items()}, zeros)


def _shared(weight: NDArray[np.float64], bits: int) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """The weight with shared values, and the place of each; pruned weights have place 0."""
    flat, stays = weight.reshape(1, -1), weight.reshape(1, -1) != 0
    zero = not stays.all()
    centers = optimal_centers(flat, stays.astype(float), max((1 << bits) - zero, 2))
    places = nearest(flat, centers)
    shared = np.where(stays, np.take_along_axis(centers, places, 1), 0)
    return shared.reshape(weight.shape), np.where(stays, places + zero, 0).reshape(weight.shape)
