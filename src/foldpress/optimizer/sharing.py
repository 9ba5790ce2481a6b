"""The network of every round of the k-fold check with shared weights, made of what pruning and factorization have left of it.

Where neither learns, one pass over the samples serves all rounds: each leaves the matrices of its fold out of the sum.
Otherwise every round has a network of its own, whose inputs are observed anew.
"""

from functools import cached_property

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from foldpress.optimizer.by_round import ByRound
from foldpress.optimizer.factorizing import Factorizing
from foldpress.optimizer.gptq import too_wide
from foldpress.optimizer.gram import GramStatistics, collect_grams
from foldpress.optimizer.layers import weighted_layers
from foldpress.optimizer.passes import PassResult, apply
from foldpress.optimizer.rounds import Rounds
from foldpress.optimizer.share import Share, ShareWeights


class Sharing(ByRound):
    """What shares weights in every round, and in which networks.

    Args:
        before: gives the network of each round.
        share: what is asked for, or None.
        levels: the largest integer of a weight, where the network is then quantized.
    """

    def __init__(self, before: Factorizing, share: Share | None, levels: int | None = None) -> None:
        super().__init__()
        self.before, self.share, self.levels = before, share, levels

    @property
    def own_network(self) -> bool:
        """Whether every round has a network of its own."""
        return self.share is not None or self.before.own_network

    @cached_property
    def grams(self) -> GramStatistics:
        """What it learns from, by fold, where all rounds share one pruned network."""
        return _collect(self.before.without(None, 0).model, self.before.pruning.rounds)

    def _make(self, fold: int | None, repeat: int) -> PassResult:
        model = self.before.without(fold, repeat).model
        if self.share is None:
            return PassResult(model)
        return apply([ShareWeights(self.share, self._learned(model, fold, repeat), self.levels)], model)

    def _learned(self, model: ir.Model, fold: int | None, repeat: int) -> dict[str, NDArray[np.float64]]:
        if self.before.own_network:
            return _collect(model, Rounds.undivided(self.before.pruning.rounds.seen(fold, repeat))).all()
        return self.grams.all() if fold is None else self.grams.without(fold, repeat)


def _collect(model: ir.Model, rounds: Rounds) -> GramStatistics:
    layers = [layer.slot for layer in weighted_layers(model)[0] if too_wide(layer) is None]
    return collect_grams(model, layers, rounds.samples, rounds.numbers)
