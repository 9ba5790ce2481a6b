"""What the network of a round goes through, and the graphs that come of it.

Statistics are collected once for all folds. Where pruning, factorization or sharing learns from data, every round has a network
of its own, so ranges are collected anew for each; else one pass of calibration serves all rounds.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import onnx_ir as ir

from foldpress.optimizer.collection import Collection
from foldpress.optimizer.factorizing import Factorizing
from foldpress.optimizer.learning import Learning
from foldpress.optimizer.passes import LogEntry
from foldpress.optimizer.pruning import Pruning
from foldpress.optimizer.quantize import Quantize
from foldpress.optimizer.rounds import Rounds
from foldpress.optimizer.sharing import Sharing


@dataclass(frozen=True, eq=False)
class Pressed:
    """The graphs of one round, each None where its stage was not asked for, and the log of all."""

    pruned: ir.Model | None
    factorized: ir.Model | None
    shared: ir.Model | None
    quantized: ir.Model | None
    log: tuple[LogEntry, ...]

    @property
    def floating(self) -> ir.Model | None:
        """The last one before it is quantized."""
        return self.shared or self.factorized or self.pruned

    @property
    def last(self) -> ir.Model | None:
        """The one that ships."""
        return self.quantized or self.floating


@dataclass(frozen=True, eq=False)
class Stages:
    """Pruning, factorization, sharing and quantization, in this order, for every round.

    Args:
        sharing: has the stages before it.
        quantize: to what.
        statistics: gives what static int8 learns, where all rounds share it.
        made: what several rounds or precisions need, by name.
    """

    sharing: Sharing
    quantize: Quantize
    statistics: Callable[[Collection], Learning] = Collection.collect
    made: dict[str, Any] = field(default_factory=dict)

    @property
    def factorizing(self) -> Factorizing:
        """What is factorized."""
        return self.sharing.before

    @property
    def pruning(self) -> Pruning:
        """What is pruned."""
        return self.factorizing.pruning

    @property
    def learns(self) -> bool:
        """Whether the calibration samples decide anything."""
        return self.sharing.own_network or self.quantize.learns

    def quantizing(self, **change: Any) -> "Stages":
        """The same float networks quantized in another way; what was collected is shared."""
        return replace(self, quantize=replace(self.quantize, **change))

    def collect(self) -> None:
        """Collect the statistics that all rounds share. Otherwise the first round does it."""
        if self.pruning.own_network:
            self.pruning.collect()
        elif self.factorizing.asked is not None:
            _ = self.factorizing.grams
        elif self.sharing.share is not None:
            _ = self.sharing.grams
        elif self.learns:
            self._shared()

    def floating(self) -> ir.Model:
        """What is quantized in the round that ships."""
        return self.sharing.without(None, 0).model

    def of(self, fold: int | None, repeat: int) -> Pressed:
        """The graphs of the round without a fold; None for the one that ships. Where nothing learns, all rounds have one."""
        if fold is None or self.learns:
            return self._made(fold, repeat)
        pressed: Pressed = self._once(f"graph {self.quantize.describe()}", lambda: self._made(None, 0))
        return pressed

    def _made(self, fold: int | None, repeat: int) -> Pressed:
        pruned, factorized, shared = (
            stage.without(fold, repeat) for stage in (self.pruning, self.factorizing, self.sharing)
        )
        kept = (
            pruned.model if self.pruning.prune else None,
            factorized.model if self.factorizing.asked else None,
            shared.model if self.sharing.share else None,
        )
        log, model = pruned.log + factorized.log + shared.log, shared.model
        if self.quantize.target is None:
            return Pressed(*kept, None, log)
        learned = self._learned(model, fold, repeat) if self.quantize.learns else None
        quantized = self.quantize.apply(model, learned, partial(self.pruning.rounds.seen, fold, repeat))
        return Pressed(*kept, quantized.model, log + quantized.log)

    def _learned(self, model: ir.Model, fold: int | None, repeat: int) -> Any:
        """What the network of a round has learned; where it is the round's own, it saw that round's samples only."""
        if not self.sharing.own_network:
            return self.quantize.learned(self._shared(), fold, repeat)
        seen = Rounds.undivided(self.pruning.rounds.seen(fold, repeat))
        collect = partial(self.quantize.collect, model, seen, Collection.collect)
        collected = self._once(self.quantize.what, collect) if fold is None else collect()
        return self.quantize.learned(collected, None, 0)

    def _shared(self) -> Any:
        """Statistics by fold of the one network that all rounds quantize."""
        collect = partial(self.quantize.collect, self.floating(), self.pruning.rounds, self.statistics)
        return self._once(self.quantize.what, collect)

    def _once(self, name: str, make: Callable[[], Any]) -> Any:
        if name not in self.made:
            self.made[name] = make()
        return self.made[name]
