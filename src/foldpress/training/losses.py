"""What a student is to come close to: a teacher's outputs, and the targets.

Classes (Hinton, Vinyals and Dean 2015, arXiv:1503.02531, §2), with softened distributions p = softmax(z/T):

    L = γ · T² · KL(p_teacher ‖ p_student) + (1 − γ) · cross-entropy(student, label)

T² undoes what softening does to the size of gradients. Numbers: squared errors in place of both. Of several teachers, the soft
terms are averaged by weight. A teacher of some of the student's classes alone says how these compare with each other, so it is
compared with the student's softmax over them (Vongkulbhisal et al. 2019, arXiv:1904.06062, eq. 1).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch.nn import functional

from foldpress.errors import RequestError

_STEEP = -5  # the exponent that γ begins with, where it rises
_TINY = 1e-12  # the least sum that anything is divided by
_PADDING = -100  # what stands for every negative target


@dataclass(frozen=True, eq=False)
class Soft:
    """A teacher's answer to a batch.

    Args:
        outputs: [n, c, …], logits for classes.
        weight: of this teacher beside others.
        classes: the student's class for each of the teacher's, [c]; None where they are the same.
    """

    outputs: torch.Tensor
    weight: float = 1.0
    classes: torch.Tensor | None = None


@dataclass(frozen=True)
class Loss:
    """The loss of a batch.

    Args:
        gamma: share of the soft targets, 0 to 1.
        temperature: T > 0; classes alone.
        classes: whether outputs are logits of classes, or numbers.
        ramp_up: share of a training, 0 to 1, over which γ rises to its value.

    Raises:
        RequestError: γ, T or the share is out of range.
    """

    gamma: float = 0.5
    temperature: float = 4.0
    classes: bool = True
    ramp_up: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.gamma <= 1:
            raise RequestError(f"gamma = {self.gamma}", available="0 (labels alone) to 1 (the teacher alone)")
        if not 0 < self.temperature < float("inf"):
            raise RequestError(f"temperature = {self.temperature}", available="above 0; 1 leaves the teacher as it is")
        if not 0 <= self.ramp_up <= 1:
            raise RequestError(f"ramp_up = {self.ramp_up}", available="0 (γ from the first step) to 1 (until the last)")

    def at(self, done: float) -> "Loss":
        """The loss when this share of a training is done.

        Until `ramp_up`, γ · exp(−5 (1 − done/ramp_up)²) stands for γ (Tarvainen and Valpola 2017, arXiv:1703.01780, §3): a
        teacher that learns with the student has nothing to say at first.
        """
        if done >= self.ramp_up:
            return self
        return replace(self, gamma=self.gamma * math.exp(_STEEP * (1 - done / self.ramp_up) ** 2))

    def __call__(self, outputs: torch.Tensor, targets: torch.Tensor | None, soft: Sequence[Soft]) -> torch.Tensor:
        """γ · soft + (1 − γ) · hard, a scalar.

        Args:
            outputs: of the student, [n, c, …], logits for classes.
            targets: of the first l samples, [l, …]; with a class for each position, negative ones are padding.
            soft: the teachers' answers to all n; without any, the hard term stands alone.
        """
        if not soft:
            return self.hard(outputs, targets)
        gentle = self.soft(outputs, targets, soft)
        if self.gamma == 1 or targets is None or not len(targets):
            return self.gamma * gentle
        return self.gamma * gentle + (1 - self.gamma) * self.hard(outputs, targets)

    def hard(self, outputs: torch.Tensor, targets: torch.Tensor | None) -> torch.Tensor:
        """Cross-entropy of what is no padding, or the mean squared error, of the labelled samples."""
        assert targets is not None  # noqa: S101  # `check` of the objective sees to it
        outputs = outputs[: len(targets)].float()
        if self.classes:
            known = targets.long().masked_fill(targets < 0, _PADDING)
            return functional.cross_entropy(outputs, known, ignore_index=_PADDING)
        return functional.mse_loss(outputs.flatten(1), targets.float().reshape(len(targets), -1))

    def soft(self, outputs: torch.Tensor, targets: torch.Tensor | None, soft: Sequence[Soft]) -> torch.Tensor:
        """The distance from the teachers, averaged over them and over the samples, or positions, that one of them knows."""
        distances = torch.stack([self._distance(outputs.float(), one) for one in soft])
        weights = torch.stack([one.weight * _known(one, targets, distances[0]) for one in soft])
        return (weights * distances).sum() / weights.sum().clamp(min=_TINY)

    def _distance(self, outputs: torch.Tensor, teacher: Soft) -> torch.Tensor:
        """Of each sample, or of each position where there are any, [n, …]."""
        given = teacher.outputs.float()
        if not self.classes:
            return (outputs.flatten(1) - given.flatten(1)).square().mean(1)
        if teacher.classes is not None:
            outputs = outputs[:, teacher.classes]
        student, wanted = (functional.log_softmax(one / self.temperature, 1) for one in (outputs, given))
        return self.temperature**2 * functional.kl_div(student, wanted, reduction="none", log_target=True).sum(1)


def _known(teacher: Soft, targets: torch.Tensor | None, like: torch.Tensor) -> torch.Tensor:
    """1 for all that a teacher can say something of, [n, …]: not for padding, nor for a label that is none of its classes."""
    known = torch.ones_like(like)
    if targets is not None and (teacher.classes is not None or like.ndim > 1):  # numbers may be negative
        within = targets >= 0 if teacher.classes is None else torch.isin(targets, teacher.classes)
        known[: len(targets)] = within.to(known)
    return known
