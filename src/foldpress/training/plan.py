"""How long, how fast and from which seed a network is trained."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from foldpress.errors import RequestError


@dataclass(frozen=True)
class Plan:
    """One training.

    Args:
        epochs: passes over the samples, at most.
        batch: samples in a step; the last samples are spread over the steps, so that no batch is much smaller.
        learning_rate: the highest one of the schedule.
        held_back: share of the labelled training samples that are not trained on: the epoch that does best on them counts.
            0: the last epoch counts.
        patience: epochs without a better one after which training ends; None: never before `epochs`.
        seed: of the order of samples, of dropout and of augmentation. The same seed gives the same bits on the same machine.
        optimizer: parameters → torch.optim.Optimizer; AdamW unless given.
        schedule: (optimizer, steps in all) → a schedule of PyTorch's, moved on after every step; unless given, the rate rises
            over the first twentieth of the steps and falls to zero along a cosine.
        augment: inputs → inputs, tensors [n, …] or a mapping of them; whatever it draws comes from PyTorch's own generator.
        mixed: float16 where that is safe, on GPUs alone (Micikevicius et al. 2018, arXiv:1710.03740).

    Raises:
        RequestError: a number is out of range.
    """

    epochs: int = 30
    batch: int = 64
    learning_rate: float = 1e-3
    held_back: float = 0.1
    patience: int | None = 10
    seed: int = 0
    optimizer: Callable[..., Any] | None = None
    schedule: Callable[..., Any] | None = None
    augment: Callable[..., Any] | None = None
    mixed: bool = True

    def __post_init__(self) -> None:
        for name, least in (("epochs", 1), ("batch", 1), ("patience", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise RequestError(f"{name} = {value}", available=f"{least} and up")
        if not 0 < self.learning_rate < float("inf"):
            raise RequestError(f"learning_rate = {self.learning_rate}", available="above 0")
        if not 0 <= self.held_back < 1:
            raise RequestError(f"held_back = {self.held_back} is no share", available="0 to less than 1")
