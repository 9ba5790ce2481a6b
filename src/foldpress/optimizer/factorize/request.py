"""What factorization is asked for: a method and its budget, and the pass that they make."""

from dataclasses import dataclass
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from foldpress.data import Dataset
from foldpress.errors import RequestError
from foldpress.optimizer.factorize.costs import LayerTimes
from foldpress.optimizer.factorize.factorize import Factorize
from foldpress.optimizer.factorize.forms import Method
from foldpress.optimizer.ledger import Budget


@dataclass(frozen=True)
class Factorization:
    """A method and one budget; the other fields are those of `Factorize`.

    `max_drop` becomes a share of the MACs before anything is factorized, and `latency` goes with `times` that were measured
    (`foldpress.settling`).
    """

    method: Method = "auto"
    macs: float | None = None
    parameters: float | None = None
    bytes: float | None = None
    latency: float | None = None
    max_drop: float | None = None
    protect: tuple[str, ...] = ()
    times: LayerTimes | None = None

    def make(self, grams: dict[str, NDArray[np.float64]], samples: Dataset) -> Factorize:
        """The pass, given what it learns from: see `Factorize`.

        Raises:
            RequestError: no budget.
        """
        for kind in get_args(Budget):
            if (share := getattr(self, kind)) is not None:
                return Factorize(kind, share, grams, samples, self.method, self.times, self.protect)
        raise RequestError("factorization needs a budget", available=", ".join(get_args(Budget)))
