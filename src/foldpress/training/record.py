"""What a training has found so far, and what it gives in the end."""

from dataclasses import dataclass, field
from typing import Any

import torch


@dataclass
class Record:
    """The losses of all epochs so far, and the best one by what was held back."""

    losses: list[tuple[float, float]] = field(default_factory=list)
    epoch: int = 0
    loss: float = float("inf")
    weights: dict[str, Any] = field(default_factory=dict)

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint."""
        return dict(self.__dict__)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """From a checkpoint."""
        self.__dict__.update(state)


@dataclass(frozen=True, eq=False)
class Trained:
    """A network after training, on the CPU and ready for inference.

    `epoch` is the one whose weights it has. `losses` has, for every epoch, the mean loss of training and that of what was held
    back (NaN where nothing was).
    """

    module: torch.nn.Module
    epoch: int
    losses: list[tuple[float, float]]
