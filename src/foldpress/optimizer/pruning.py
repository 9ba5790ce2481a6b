"""The pruned network of every round of the k-fold check.

Statistics are collected once for all rounds. Only structured pruning learns; otherwise all rounds share one network.
"""

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

import onnx_ir as ir

from foldpress.errors import RequestError
from foldpress.graph import copy_graph
from foldpress.optimizer.blas import one_thread
from foldpress.optimizer.by_round import ByRound
from foldpress.optimizer.gates import with_gates
from foldpress.optimizer.gram import GramStatistics, collect_grams
from foldpress.optimizer.hiding import clear_branches
from foldpress.optimizer.masks import MaskingPass, Masks
from foldpress.optimizer.passes import PassResult, apply
from foldpress.optimizer.prune import Prune
from foldpress.optimizer.rounds import Rounds
from foldpress.optimizer.shrink import shrink
from foldpress.optimizer.structured import PruneStructured, layers_to_observe

if TYPE_CHECKING:
    from foldpress.optimizer.allocation import Plan


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
        for name in ("grams", "priced"):
            if name in self.__dict__:
                setattr(other, name, getattr(self, name))
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
    def priced(self) -> "list[Plan]":
        """What it costs the network that learns from all folds to lose more and more: the same for every budget of time."""
        made = self._unpriced(None, 0)
        assert isinstance(made, PruneStructured)  # noqa: S101  # only channels change the time
        with one_thread():
            return made.price(self.model)

    def collect(self) -> None:
        """Learn all that several budgets share."""
        _ = self.grams if self.prune is None or self.prune.latency is None else self.priced

    @cached_property
    def masked(self) -> tuple[Masks, PassResult]:
        """What goes of the network that learned from all folds, and that network with it hidden and the rest repaired."""
        if self.prune is None:
            return Masks(), PassResult(self.model)
        model = copy_graph(self.model)
        with one_thread():
            masks, log = self._pass(None, 0).mask(model)
        return masks, PassResult(model, log)

    def sketch(self) -> tuple[dict[str, int], ir.Model]:
        """How many channels each group is left with, and that network with nothing repaired, good for timing alone."""
        made = self._pass(None, 0)
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
        with one_thread():
            return apply([self._pass(fold, repeat)], self.model)

    def _pass(self, fold: int | None, repeat: int) -> MaskingPass:
        made = self._unpriced(fold, repeat)
        if fold is None and isinstance(made, PruneStructured) and made.kind == "latency":
            return replace(made, plans=self.priced)
        return made

    def _unpriced(self, fold: int | None, repeat: int) -> MaskingPass:
        assert self.prune is not None  # noqa: S101  # else there is no pass
        if not self.own_network:
            return self.prune.make({}, self.rounds.samples)
        grams = self.grams.all() if fold is None else self.grams.without(fold, repeat)
        return self.prune.make(grams, self.rounds.seen(fold, repeat))
