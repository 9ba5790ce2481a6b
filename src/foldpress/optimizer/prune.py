"""What pruning is asked for: a method and its budget, and the pass that they make."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from foldpress.data import Dataset
from foldpress.errors import RequestError
from foldpress.optimizer.ledger import Budget, Latencies
from foldpress.optimizer.masks import MaskingPass
from foldpress.optimizer.scores import Score
from foldpress.optimizer.structured import PruneStructured
from foldpress.optimizer.unstructured import PruneThreshold, PruneTwoFour


@dataclass(frozen=True)
class Prune:
    """A method, and one budget that it takes; the other fields are those of `PruneStructured` and `PruneThreshold`.

    `max_drop` becomes a share of the MACs before anything is pruned, and `latency` goes with `latencies` that were measured
    (`foldpress.settling`).
    """

    method: Literal["structured", "unstructured", "2:4"]
    macs: float | None = None
    parameters: float | None = None
    bytes: float | None = None
    sparsity: float | None = None
    threshold: float | None = None
    layers: Mapping[str, float] = field(default_factory=dict)
    latency: float | None = None
    max_drop: float | None = None
    protect: tuple[str, ...] = ()
    multiple: int = 4
    score: Score = "obs"
    latencies: Latencies | None = None

    @property
    def learns(self) -> bool:
        """Whether it looks at data, and so must not see the fold that it is judged on."""
        return self.method == "structured"

    @property
    def by_magnitude(self) -> PruneThreshold:
        """The pass of unstructured pruning."""
        return PruneThreshold(self.sparsity, self.threshold, self.layers)

    def make(self, grams: dict[str, NDArray[np.float64]], samples: Dataset) -> MaskingPass:
        """The pass, given what it learns from: see `PruneStructured`.

        Raises:
            RequestError: structured pruning without a budget.
        """
        if self.method == "2:4":
            return PruneTwoFour()
        if self.method == "unstructured":
            return self.by_magnitude
        for kind in get_args(Budget):
            if (share := getattr(self, kind)) is not None:
                return PruneStructured(
                    kind,
                    share,
                    grams,
                    samples,
                    self.multiple,
                    self.score,
                    latencies=self.latencies,
                    protect=self.protect,
                )
        raise RequestError("structured pruning needs a budget", available=", ".join(get_args(Budget)))
