"""The factorized network of every round of the k-fold check, made of the network that pruning has left it.

Where all rounds have one network, its statistics are collected once by fold; where each has its own, each collects them on the
samples that it may see.
"""

from functools import cached_property

import onnx_ir as ir

from foldpress.optimizer.blas import one_thread
from foldpress.optimizer.by_round import ByRound
from foldpress.optimizer.factorize.factorize import Factorize, nothing_to_factorize
from foldpress.optimizer.factorize.forms import factorizable
from foldpress.optimizer.factorize.request import Factorization
from foldpress.optimizer.gram import GramStatistics, collect_grams
from foldpress.optimizer.passes import PassResult, apply
from foldpress.optimizer.pruning import Pruning
from foldpress.optimizer.rounds import Rounds


class Factorizing(ByRound):
    """The networks of `pruning`, factorized.

    Args:
        pruning: what is factorized.
        asked: how, or None.
    """

    def __init__(self, pruning: Pruning, asked: Factorization | None) -> None:
        super().__init__()
        self.pruning, self.asked = pruning, asked

    @property
    def own_network(self) -> bool:
        """Whether every round has a network of its own."""
        return self.asked is not None or self.pruning.own_network

    def by(self, asked: Factorization | None) -> "Factorizing":
        """The same networks factorized to another budget, or not at all; what was learned is shared."""
        other = Factorizing(self.pruning, asked)
        if "grams" in self.__dict__:
            other.grams = self.grams
        return other

    @cached_property
    def grams(self) -> GramStatistics:
        """What all rounds learn from, by fold, where they have one network; else what the round that ships does.

        Raises:
            RequestError: no layer can be factorized.
        """
        return self._collect(self.pruning.without(None, 0).model, self._rounds(None, 0))

    def the_pass(self, fold: int | None, repeat: int) -> Factorize:
        """What factorizes the network of a round."""
        assert self.asked is not None  # noqa: S101  # else there is no pass
        seen = self.pruning.rounds.seen(fold, repeat)
        if fold is None:
            return self.asked.make(self.grams.all(), seen)
        if self.pruning.own_network:
            own = self._collect(self.pruning.without(fold, repeat).model, self._rounds(fold, repeat))
            return self.asked.make(own.all(), seen)
        return self.asked.make(self.grams.without(fold, repeat), seen)

    def _make(self, fold: int | None, repeat: int) -> PassResult:
        model = self.pruning.without(fold, repeat).model
        if self.asked is None:
            return PassResult(model)
        with one_thread():
            return apply([self.the_pass(fold, repeat)], model)

    def _rounds(self, fold: int | None, repeat: int) -> Rounds:
        """The samples to collect from, in folds as far as rounds share a network."""
        rounds = self.pruning.rounds
        return Rounds.undivided(rounds.seen(fold, repeat)) if self.pruning.own_network else rounds

    def _collect(self, model: ir.Model, rounds: Rounds) -> GramStatistics:
        assert self.asked is not None  # noqa: S101  # else nothing is collected
        layers, declined = factorizable(model, self.asked.method, self.asked.protect)
        if not layers:
            raise nothing_to_factorize(self.asked.method, declined)
        return collect_grams(model, [layer.slot for layer, _ in layers.values()], rounds.samples, rounds.numbers)
