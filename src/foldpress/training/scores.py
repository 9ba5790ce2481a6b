"""How a network's output is read as what a loss compares: where its classes stand, and whether they are logits already.

Targets say where the positions are, as in scoring (`foldpress.benchmark.labels`): [N] has none, [N, T] has tokens, [N, H, W] has
pixels. Scores have one axis more.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from foldpress.benchmark.labels import class_axes
from foldpress.errors import ModelError

_TINY = 1e-12  # the least probability that a logarithm is taken of


@dataclass(frozen=True)
class Scores:
    """Of one network.

    Args:
        axis: of the classes; None where outputs are numbers.
        probabilities: whether the network ends in a softmax.
    """

    axis: int | None = None
    probabilities: bool = False

    def __call__(self, outputs: torch.Tensor) -> torch.Tensor:
        """Logits [n, c, …] with the classes right behind the samples; numbers as they are."""
        if self.axis is None:
            return outputs
        moved = outputs.movedim(self.axis, 1)
        return as_logits(moved) if self.probabilities else moved


def scores_of(outputs: torch.Tensor, positions: Sequence[int], *, whose: str) -> Scores:
    """How to read a network that gave `outputs`, where targets are classes [N, *positions].

    Raises:
        ModelError: no axis can be that of the classes, or several can.
    """
    axes = class_axes(outputs.shape, positions)
    if len(axes) != 1:
        targets = f"targets [{', '.join(['N', *map(str, positions)])}]"
        doubt = f"; with {targets} its classes may be axis {' or axis '.join(map(str, axes))}" if axes else ""
        shown = ", ".join(["N", "C", *map(str, positions)])
        raise ModelError(
            f"{whose} gives {list(outputs.shape)}{doubt}",
            available=f"scores of classes, as [{shown}] for {targets}; without targets [N, C]",
            mend='task = "regression"?'
            if not axes
            else "pad the targets to another length: one that no other axis has",
        )
    return Scores(axes[0], are_probabilities(outputs.movedim(axes[0], 1)))


def as_logits(outputs: torch.Tensor) -> torch.Tensor:
    """Logarithms of probabilities, whose softmax they are."""
    return outputs.clamp(min=_TINY).log()


def are_probabilities(outputs: torch.Tensor) -> bool:
    """Whether [n, c, …] holds distributions over c already, as of a network that ends in a softmax."""
    sums = outputs.float().sum(1)
    return (
        outputs.shape[1] > 1
        and bool((outputs >= 0).all())
        and bool(torch.allclose(sums, torch.ones_like(sums), atol=1e-3))
    )
