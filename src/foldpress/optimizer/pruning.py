"""The pruned network of every round of the k-fold check.

Statistics are collected once for all rounds. Only structured pruning learns; otherwise all rounds share one network.
"""

from functools import cached_property

import onnx_ir as ir

from foldpress.errors import RequestError
from foldpress.graph import copy_graph
from foldpress.optimizer.blas import one_thread
from foldpress.optimizer.by_round import ByRound
from foldpress.optimizer.gates import with_gates
from foldpress.optimizer.gram import GramStatistics, collect_grams
from foldpress.optimizer.hiding import clear_branches
from foldpress.optimizer.masks import Masks
from foldpress.optimizer.passes import PassResult, apply
from foldpress.optimizer.prune import Prune
from foldpress.optimizer.rounds import Rounds
from foldpress.optimizer.shrink import shrink
from foldpress.optimizer.structured import PruneStructured, layers_to_observe


class Pruning(ByRound):
    """One float graph, pruned for every round.

    Args:
        model: a cleaned float graph with shapes.
        prune: what to prune, or None.
        rounds: the samples to learn from.
    """

    def __init__(self, model: ir.Model, prune: Prune | None, rounds: Rounds) -> None:
        super().__init__()
        self.model, self.prune, self.rounds = model, prune, rounds

    @property
    def own_network(self) -> bool:
        """Whether it looks at data, so that every round has a network of its own."""
        return self.prune is not None and self.prune.learns

    @property
    def protected(self) -> tuple[str, ...]:
        """Layers that are left as they are, by name."""
        return self.prune.protect if self.prune is not None else ()

    def by(self, prune: Prune | None) -> "Pruning":
        """The same graph pruned by another budget for the same layers, or not at all; what was learned is shared."""
        other = Pruning(self.model, prune, self.rounds)
        if "grams" in self.__dict__:
            other.grams = self.grams
        return other

    @cached_property
    def grams(self) -> GramStatistics:
        """What it learns from, by fold.

        Raises:
            RequestError: no layer can lose channels.
        """
        shown = with_gates(self.model)
        layers = layers_to_observe(shown, self.protected)
        if not layers:
            raise RequestError(
                "no layer of this graph can lose channels: each is protected, feeds an output or what is not understood",
                mend='leave [prune] out, or use method = "unstructured"',
            )
        return collect_grams(shown, layers, self.rounds.samples, self.rounds.numbers)

    @cached_property
    def masked(self) -> tuple[Masks, PassResult]:
        """What goes of the network that learned from all folds, and that network with it hidden and the rest repaired."""
        assert self.prune is not None  # noqa: S101  # else nothing goes
        made = self.prune.make(self.grams.all() if self.own_network else {}, self.rounds.samples)
        model = copy_graph(self.model)
        with one_thread():
            masks, log = made.mask(model)
        return masks, PassResult(model, log)

    def sketch(self) -> tuple[dict[str, int], ir.Model]:
        """How many channels each group is left with, and that network with nothing repaired, good for timing alone."""
        assert self.prune is not None  # noqa: S101  # else there is nothing to sketch
        made = self.prune.make(self.grams.all(), self.rounds.samples)
        assert isinstance(made, PruneStructured)  # noqa: S101  # only channels change the time
        with one_thread():
            plans = made.decide(self.model)
        cut = copy_graph(self.model)
        clear_branches(cut, plans)
        shrink(cut, Masks({plan.group.name: plan.keep() for plan in plans if plan.taken}))
        return {plan.group.name: plan.remaining(plan.taken) for plan in plans}, cut

    def _make(self, fold: int | None, repeat: int) -> PassResult:
        if self.prune is None:
            return PassResult(self.model)
        if not self.own_network:
            return apply([self.prune.make({}, self.rounds.samples)], self.model)
        grams = self.grams.all() if fold is None else self.grams.without(fold, repeat)
        with one_thread():
            return apply([self.prune.make(grams, self.rounds.seen(fold, repeat))], self.model)
