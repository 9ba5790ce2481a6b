"""Compression for the k-fold check: the graph that ships, and for every fold one that has not seen it.

Statistics are collected once for all folds. Where pruning, factorization or sharing learns from data, every round has a network
of its own, so ranges are collected anew for each; else one pass of calibration serves all rounds.
"""

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import onnx_ir as ir

from foldpress.data import Dataset, Indices
from foldpress.errors import RequestError
from foldpress.optimizer.collection import Collection
from foldpress.optimizer.factorize.factorize import Factorize
from foldpress.optimizer.factorize.request import Factorization
from foldpress.optimizer.factorizing import Factorizing
from foldpress.optimizer.learning import Learning
from foldpress.optimizer.masks import Masks
from foldpress.optimizer.passes import LogEntry, PassResult
from foldpress.optimizer.placement import named_float
from foldpress.optimizer.prune import Prune
from foldpress.optimizer.pruning import Pruning
from foldpress.optimizer.quantize import STATIC_INT8, Quantize
from foldpress.optimizer.ranges import Method
from foldpress.optimizer.rounds import Rounds
from foldpress.optimizer.share import Share
from foldpress.optimizer.sharing import Sharing
from foldpress.optimizer.targets import Target
from foldpress.precision import Precision
from foldpress.weight_passes import KEEP_VALUES, WeightPass


@dataclass(frozen=True, eq=False)
class Pressed:
    """The graphs of one round, each None where its stage was not asked for, and the log of both."""

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


class Press:
    """Compress one float graph for every round of the k-fold check and once to ship.

    Args:
        model: a cleaned float graph with shapes.
        calibration: the samples to learn from.
        numbers: their fold numbers, [repeats, N].
        prune: what to prune, or None.
        factorize: how to factorize what is left, or None.
        share: which weights are to share values, or None.
        target: what to quantize for, or None.
        ranges: how they are chosen.
        precision: what the graph is to hold and compute in; "auto" has to be settled by `at`.
        keep_float: names of nodes, types of operators, "first" and "last", that static int8 leaves float.
        float_macs: share of the MACs that may stay float too, where rounding costs the outputs most.
        weights: passes over float weights before static int8; None for those that suit the network.
        statistics: gives what static int8 learns, where all rounds share it: it may be saved, or taken from a file.

    Raises:
        RequestError: the graph is to be quantized, and is float16.
    """

    def __init__(
        self,
        model: ir.Model,
        calibration: Dataset,
        numbers: Indices,
        *,
        prune: Prune | None = None,
        factorize: Factorization | None = None,
        share: Share | None = None,
        target: Target | None = None,
        ranges: Method = "auto",
        precision: Precision = STATIC_INT8,
        keep_float: Sequence[str] = (),
        float_macs: float = 0.0,
        weights: tuple[WeightPass, ...] | None = None,
        statistics: Callable[[Collection], Learning] = Collection.collect,
    ) -> None:
        self._pruning = Pruning(model, prune, Rounds(calibration, numbers))
        self._factorizing = Factorizing(self._pruning, factorize)
        if share is not None and weights is None:
            weights = KEEP_VALUES
        self._quantize = Quantize(target, precision, ranges, tuple(keep_float), float_macs, weights)
        self._sharing = Sharing(self._factorizing, share, self._quantize.levels)
        self._statistics = statistics
        self._made: dict[str, Any] = {}  # what several rounds or precisions need, by name
        halves = {ir.DataType.FLOAT16, ir.DataType.BFLOAT16}
        if target is not None and any(value.dtype in halves for value in model.graph.initializers.values()):
            raise RequestError("the graph is float16 already", mend="start from the float32 graph")

    @property
    def model(self) -> ir.Model:
        """The graph that is compressed."""
        return self._pruning.model

    @property
    def prune(self) -> Prune | None:
        """What is pruned."""
        return self._pruning.prune

    @property
    def protected(self) -> tuple[str, ...]:
        """Layers that pruning leaves as they are, by name."""
        return self._pruning.protected

    @property
    def factorize(self) -> Factorization | None:
        """How what is left is factorized."""
        return self._factorizing.asked

    @property
    def changes_shapes(self) -> bool:
        """Whether pruning or factorization may change how long the network takes."""
        return self._factorizing.own_network

    @property
    def target(self) -> Target | None:
        """What is quantized for."""
        return self._quantize.target

    @property
    def precision(self) -> Precision:
        """What the graph is to hold and compute in, where it is quantized."""
        return self._quantize.precision

    @property
    def keep_float(self) -> tuple[str, ...]:
        """What static int8 leaves float by name."""
        return self._quantize.keep_float

    @property
    def leaves_float(self) -> bool:
        """Whether single layers are to stay float, as only static int8 can."""
        return bool(self._quantize.keep_float or self._quantize.float_macs)

    @property
    def learns(self) -> bool:
        """Whether the calibration samples decide anything."""
        return self._sharing.own_network or self._quantize.learns

    def describe(self) -> str:
        """What the layers of its graphs compute in, and for which target."""
        return self._quantize.describe()

    def fingerprint(self) -> str:
        """A digest of the samples to learn from."""
        return self._pruning.rounds.samples.fingerprint()

    def held_out(self, fold: int, repeat: int = 0) -> Dataset:
        """The calibration samples of one fold."""
        return self._pruning.rounds.held_out(fold, repeat)

    def collect(self) -> None:
        """Collect the statistics that all rounds share. Otherwise the first round does it."""
        if self._pruning.own_network:
            self._pruning.collect()
        elif self.factorize is not None:
            _ = self._factorizing.grams
        elif self._sharing.share is not None:
            _ = self._sharing.grams
        elif self.learns:
            self._shared()

    def at(self, precision: Precision | None) -> "Press":
        """The same press at another precision, None being float32; what was collected is shared."""
        other = copy(self)
        change: dict[str, Any] = {"target": None} if precision is None else {"precision": precision}
        other._quantize = replace(self._quantize, **change)
        return other

    def pruning(self, prune: Prune | None) -> "Press":
        """The same press with another budget for the same layers, or none; it shares what pruning learns from."""
        return self._of(Factorizing(self._pruning.by(prune), self.factorize), self._sharing.share, self._quantize)

    def factorizing(self, factorize: Factorization | None) -> "Press":
        """The same press with another budget for the same networks, or none; it shares what factorization learns from."""
        return self._of(self._factorizing.by(factorize), self._sharing.share, self._quantize)

    def halves(self, fold: int | None, repeat: int) -> "Press":
        """A press of float32 for what the round without `fold` may look at, with two folds: folds stay whole where they can."""
        halves = self._pruning.rounds.halves(fold, repeat)
        pruning = Pruning(self.model, self.prune, halves)
        return self._of(Factorizing(pruning, self.factorize), None, replace(self._quantize, target=None))

    def rough(self, model: ir.Model, samples: Dataset) -> ir.Model:
        """A part of the graph, or all of it changed, in the precision of this press; good for timing alone.

        `samples` may be few and made up.
        """
        plain = Factorizing(Pruning(model, None, Rounds.undivided(samples)), None)
        there = {str(node.name) for node in model.graph}
        left_float = tuple(name for name in named_float(self.model, self.keep_float) if name in there)
        return (
            self._of(plain, None, replace(self._quantize, weights=(), keep_float=left_float)).ship().quantized or model
        )

    def unpruned(self) -> ir.Model:
        """The graph that nothing was cut from in the precision of this press, good for timing alone."""
        return self.rough(self.model, self._pruning.rounds.few())

    def sketch(self) -> tuple[dict[str, int], ir.Model]:
        """How many channels each group is left with, and what `ship` would give, good for timing alone: nothing is repaired."""
        widths, cut = self._pruning.sketch()
        return widths, self.rough(cut, self._pruning.rounds.few())

    def masked(self) -> tuple[Masks, PassResult]:
        """See `Pruning.masked`."""
        return self._pruning.masked

    def float_graph(self) -> ir.Model:
        """What is quantized: the graph pruned, factorized and shared on all folds, or the one that was given."""
        return self._sharing.without(None, 0).model

    def offers(self) -> tuple[ir.Model, Factorize]:
        """The network of the round that ships as factorization gets it, and the pass that would factorize it."""
        return self._pruning.without(None, 0).model, self._factorizing.the_pass(None, 0)

    def ship(self) -> Pressed:
        """The graphs that learned from all folds."""
        return self._press(None, 0)

    def without(self, fold: int, repeat: int = 0) -> Pressed:
        """The graphs that learned from every fold but one."""
        if self.learns:
            return self._press(fold, repeat)
        pressed: Pressed = self._once(f"graph {self.describe()}", self.ship)
        return pressed

    def _of(self, factorizing: Factorizing, share: Share | None, quantize: Quantize) -> "Press":
        """A press of another network. What is stored belongs to the one that ships."""
        other = copy(self)
        other._pruning, other._factorizing, other._quantize = factorizing.pruning, factorizing, quantize
        other._sharing = Sharing(factorizing, share, quantize.levels)
        other._made = {}
        other._statistics = Collection.collect
        return other

    def _once(self, name: str, make: Callable[[], Any]) -> Any:
        if name not in self._made:
            self._made[name] = make()
        return self._made[name]

    def _press(self, fold: int | None, repeat: int) -> Pressed:
        pruned, factorized, shared = (
            stage.without(fold, repeat) for stage in (self._pruning, self._factorizing, self._sharing)
        )
        kept = (
            pruned.model if self.prune else None,
            factorized.model if self.factorize else None,
            shared.model if self._sharing.share else None,
        )
        log, model = pruned.log + factorized.log + shared.log, shared.model
        if self.target is None:
            return Pressed(*kept, None, log)
        learned = self._learned(model, fold, repeat) if self._quantize.learns else None
        quantized = self._quantize.apply(model, learned, partial(self._pruning.rounds.seen, fold, repeat))
        return Pressed(*kept, quantized.model, log + quantized.log)

    def _learned(self, model: ir.Model, fold: int | None, repeat: int) -> Any:
        """What the network of a round has learned; where it is the round's own, it saw that round's samples only."""
        if not self._sharing.own_network:
            return self._quantize.learned(self._shared(), fold, repeat)
        seen = Rounds.undivided(self._pruning.rounds.seen(fold, repeat))
        collect = partial(self._quantize.collect, model, seen, Collection.collect)
        collected = self._once(self._quantize.what, collect) if fold is None else collect()
        return self._quantize.learned(collected, None, 0)

    def _shared(self) -> Any:
        """Statistics by fold of the one network that all rounds quantize."""
        collect = partial(self._quantize.collect, self.float_graph(), self._pruning.rounds, self._statistics)
        return self._once(self._quantize.what, collect)
