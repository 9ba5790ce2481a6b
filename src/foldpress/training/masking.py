"""Masks that hold through training: after every step, what is masked is zero again (projected gradient descent).

Zhu and Gupta (2017, arXiv:1710.01878, eq. 1) let the share of zeros grow while the network learns to do without them:

    s_t = s · (1 − (1 − t/n)³)
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

from foldpress.errors import ModelError

_GROWING = 0.5  # of the steps: the other half recovers under the final masks
_UPDATES = 100  # of growing masks in all; in between, masks stay


@dataclass(frozen=True, eq=False)
class Held:
    """Masks that stay as they are.

    Args:
        module: whose parameters they are.
        masks: true where a weight stays, by the parameter's name.

    Raises:
        ModelError: there is no such parameter, or it has another shape.
    """

    module: torch.nn.Module
    masks: Mapping[str, torch.Tensor]

    def __post_init__(self) -> None:
        known = dict(self.module.named_parameters())
        for name, mask in self.masks.items():
            if name not in known or known[name].shape != mask.shape:
                shape = list(known[name].shape) if name in known else "not there"
                raise ModelError(f"a mask of {list(mask.shape)} for parameter {name}, which is {shape}",
                                 available=", ".join(known))  # fmt: skip

    def hold(self, step: int, steps: int) -> None:  # noqa: ARG002  # always the same masks
        """Make zero what is masked."""
        known = dict(self.module.named_parameters())
        for name, mask in self.masks.items():
            known[name].data.mul_(mask.to(known[name].device))

    def final(self, step: int, steps: int) -> bool:  # noqa: ARG002  # as above
        """From the first step on."""
        return True


@dataclass(frozen=True, eq=False)
class Growing:
    """Masks of the smallest weights of all, which become more up to the share `sparsity` of them.

    Args:
        module: whose parameters they are.
        names: of the parameters.
        sparsity: share of zeros in the end, in (0, 1).
    """

    module: torch.nn.Module
    names: tuple[str, ...]
    sparsity: float
    _stays: dict[str, torch.Tensor] = field(default_factory=dict)

    def hold(self, step: int, steps: int) -> None:
        """Make zero what is masked by now."""
        known = dict(self.module.named_parameters())
        weights = {name: known[name].data for name in self.names}
        if not self._stays:  # at first, or when a training is taken up: zeros are masks
            self._stays.update({name: weight != 0 for name, weight in weights.items()})
        if step % _every(steps) == 0 and step:
            self._stays.update(_largest(weights, self.sparsity * self._share(step, steps)))
        for name, weight in weights.items():
            weight.mul_(self._stays[name])

    def final(self, step: int, steps: int) -> bool:
        """Once all zeros are there."""
        return self._share(step // _every(steps) * _every(steps), steps) == 1

    def _share(self, step: int, steps: int) -> float:
        return float(1 - (1 - min(1.0, step / (_GROWING * steps))) ** 3)


def _every(steps: int) -> int:
    return max(1, round(_GROWING * steps / _UPDATES))


def _largest(weights: Mapping[str, torch.Tensor], sparsity: float) -> dict[str, torch.Tensor]:
    """True for all weights but the share `sparsity` of the smallest."""
    magnitudes = {name: weight.abs() for name, weight in weights.items()}
    every = torch.cat([one.flatten() for one in magnitudes.values()])
    count = int(sparsity * len(every))
    threshold = every.kthvalue(count).values if count else -1
    return {name: one > threshold for name, one in magnitudes.items()}
