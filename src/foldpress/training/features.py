"""Intermediate features: the student's are to become like the teacher's, through a linear map where widths differ.

    Σ over pairs  mean (W · student − teacher)²,   W learned with the student, and dropped with it

(FitNets: Romero et al. 2015, arXiv:1412.6550, §2.2; there in a stage of its own, here beside the other terms.)
"""

from collections.abc import Mapping, Sequence

import torch
from torch.nn import functional

from foldpress.errors import ModelError


class Features(torch.nn.Module):
    """Pairs of modules whose outputs are compared; holds the maps between them.

    Args:
        pairs: names of the teacher's modules by those of the student's.
        student, teacher: outputs of these modules for the same samples, in the order of `pairs`.

    Raises:
        ModelError: outputs that no map along one axis makes alike.
    """

    def __init__(
        self, pairs: Mapping[str, str], student: Sequence[torch.Tensor], teacher: Sequence[torch.Tensor]
    ) -> None:
        super().__init__()
        self.pairs = dict(pairs)
        found = zip(self.pairs.items(), student, teacher, strict=True)
        self.axes = [_axis(" → ".join(names), own.shape, theirs.shape) for names, own, theirs in found]
        self.maps = torch.nn.ModuleList(
            torch.nn.Identity() if axis is None else torch.nn.Linear(own.shape[axis], theirs.shape[axis], bias=False)
            for axis, own, theirs in zip(self.axes, student, teacher, strict=True)
        )

    def forward(self, student: Sequence[torch.Tensor], teacher: Sequence[torch.Tensor]) -> torch.Tensor:
        """The squared error, a scalar."""
        errors = [
            functional.mse_loss(one(own.float()) if axis is None else one(own.float().movedim(axis, -1)).movedim(-1, axis),
                                theirs.float())
            for one, axis, own, theirs in zip(self.maps, self.axes, student, teacher, strict=True)
        ]  # fmt: skip
        return torch.stack(errors).sum()


def _axis(names: str, student: torch.Size, teacher: torch.Size) -> int | None:
    """Along which axis they differ; None where they do not."""
    differing = [axis for axis, (a, b) in enumerate(zip(student, teacher, strict=False)) if a != b]
    if len(student) != len(teacher) or len(differing) > 1 or 0 in differing:
        raise ModelError(
            f"features {names} are {list(student)} and {list(teacher)}",
            mend="choose modules whose outputs differ in width alone",
        )
    return differing[0] if differing else None
