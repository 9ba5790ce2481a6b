"""What pruning is asked for: a method and its budget, and the pass that they make."""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from foldpress.data import Dataset
from foldpress.errors import RequestError
from foldpress.optimizer.allocation import Budget
from foldpress.optimizer.passes import Pass
from foldpress.optimizer.structured import PruneStructured
from foldpress.optimizer.unstructured import PruneThreshold, PruneTwoFour


@dataclass(frozen=True)
class Prune:
    """A method, and one budget that it takes; `multiple` is that of `PruneStructured`."""

    method: Literal["structured", "unstructured", "2:4"]
    macs: float | None = None
    parameters: float | None = None
    bytes: float | None = None
    sparsity: float | None = None
    threshold: float | None = None
    multiple: int = 4

    @property
    def learns(self) -> bool:
        """Whether it looks at data, and so must not see the fold that it is judged on."""
        return self.method == "structured"

    def make(self, grams: dict[str, NDArray[np.float64]], samples: Dataset) -> Pass:
        """The pass, given what it learns from: see `PruneStructured`.

        Raises:
            RequestError: structured pruning without a budget.
        """
        if self.method == "2:4":
            return PruneTwoFour()
        if self.method == "unstructured":
            return PruneThreshold(self.sparsity, self.threshold)
        kinds: tuple[Budget, ...] = get_args(Budget)
        for kind in kinds:
            if (share := getattr(self, kind)) is not None:
                return PruneStructured(kind, share, grams, samples, self.multiple)
        raise RequestError("structured pruning needs a budget", available=", ".join(kinds))
