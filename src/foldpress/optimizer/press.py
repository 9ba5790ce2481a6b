"""Compression for the k-fold check: the graph that ships, and for every fold one that has not seen it."""

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import replace
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
from foldpress.optimizer.passes import PassResult
from foldpress.optimizer.placement import named_float
from foldpress.optimizer.pressed import Pressed, Stages
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
        pruning = Pruning(model, prune, Rounds(calibration, numbers))
        if share is not None and weights is None:
            weights = KEEP_VALUES
        quantize = Quantize(target, precision, ranges, tuple(keep_float), float_macs, weights)
        sharing = Sharing(Factorizing(pruning, factorize), share, quantize.levels)
        self._stages = Stages(sharing, quantize, statistics)
        halves = {ir.DataType.FLOAT16, ir.DataType.BFLOAT16}
        if target is not None and any(value.dtype in halves for value in model.graph.initializers.values()):
            raise RequestError("the graph is float16 already", mend="start from the float32 graph")

    @property
    def model(self) -> ir.Model:
        """The graph that is compressed."""
        return self._stages.pruning.model

    @property
    def prune(self) -> Prune | None:
        """What is pruned."""
        return self._stages.pruning.prune

    @property
    def protected(self) -> tuple[str, ...]:
        """Layers that pruning leaves as they are, by name."""
        return self._stages.pruning.protected

    @property
    def factorize(self) -> Factorization | None:
        """How what is left is factorized."""
        return self._stages.factorizing.asked

    @property
    def changes_shapes(self) -> bool:
        """Whether pruning or factorization may change how long the network takes."""
        return self._stages.factorizing.own_network

    @property
    def target(self) -> Target | None:
        """What is quantized for."""
        return self._stages.quantize.target

    @property
    def precision(self) -> Precision:
        """What the graph is to hold and compute in, where it is quantized."""
        return self._stages.quantize.precision

    @property
    def keep_float(self) -> tuple[str, ...]:
        """What static int8 leaves float by name."""
        return self._stages.quantize.keep_float

    @property
    def leaves_float(self) -> bool:
        """Whether single layers are to stay float, as only static int8 can."""
        return bool(self._stages.quantize.keep_float or self._stages.quantize.float_macs)

    @property
    def learns(self) -> bool:
        """Whether the calibration samples decide anything."""
        return self._stages.learns

    def describe(self) -> str:
        """What the layers of its graphs compute in, and for which target."""
        return self._stages.quantize.describe()

    def fingerprint(self) -> str:
        """A digest of the samples to learn from."""
        return self._stages.pruning.rounds.samples.fingerprint()

    def held_out(self, fold: int, repeat: int = 0) -> Dataset:
        """The calibration samples of one fold."""
        return self._stages.pruning.rounds.held_out(fold, repeat)

    def collect(self) -> None:
        """Collect the statistics that all rounds share. Otherwise the first round does it."""
        self._stages.collect()

    def at(self, precision: Precision | None) -> "Press":
        """The same press at another precision, None being float32; what was collected is shared."""
        change: dict[str, Any] = {"target": None} if precision is None else {"precision": precision}
        return self._with(self._stages.quantizing(**change))

    def pruning(self, prune: Prune | None) -> "Press":
        """The same press with another budget for the same layers, or none; it shares what pruning learns from."""
        stages = self._stages
        return self._of(Factorizing(stages.pruning.by(prune), self.factorize), stages.sharing.share, stages.quantize)

    def factorizing(self, factorize: Factorization | None) -> "Press":
        """The same press with another budget for the same networks, or none; it shares what factorization learns from."""
        stages = self._stages
        return self._of(stages.factorizing.by(factorize), stages.sharing.share, stages.quantize)

    def halves(self, fold: int | None, repeat: int) -> "Press":
        """A press of float32 for what the round without `fold` may look at, with two folds: folds stay whole where they can."""
        halves = self._stages.pruning.rounds.halves(fold, repeat)
        pruning = Pruning(self.model, self.prune, halves)
        return self._of(Factorizing(pruning, self.factorize), None, replace(self._stages.quantize, target=None))

    def rough(self, model: ir.Model, samples: Dataset) -> ir.Model:
        """A part of the graph, or all of it changed, in the precision of this press; good for timing alone.

        `samples` may be few and made up.
        """
        plain = Factorizing(Pruning(model, None, Rounds.undivided(samples)), None)
        there = {str(node.name) for node in model.graph}
        left_float = tuple(name for name in named_float(self.model, self.keep_float) if name in there)
        return (
            self._of(plain, None, replace(self._stages.quantize, weights=(), keep_float=left_float)).ship().quantized
            or model
        )

    def unpruned(self) -> ir.Model:
        """The graph that nothing was cut from in the precision of this press, good for timing alone."""
        return self.rough(self.model, self._stages.pruning.rounds.few())

    def sketch(self) -> tuple[dict[str, int], ir.Model]:
        """How many channels each group is left with, and what `ship` would give, good for timing alone: nothing is repaired."""
        widths, cut = self._stages.pruning.sketch()
        return widths, self.rough(cut, self._stages.pruning.rounds.few())

    def masked(self) -> tuple[Masks, PassResult]:
        """See `Pruning.masked`."""
        return self._stages.pruning.masked

    def float_graph(self) -> ir.Model:
        """What is quantized: the graph pruned, factorized and shared on all folds, or the one that was given."""
        return self._stages.floating()

    def offers(self) -> tuple[ir.Model, Factorize]:
        """The network of the round that ships as factorization gets it, and the pass that would factorize it."""
        return self._stages.pruning.without(None, 0).model, self._stages.factorizing.the_pass(None, 0)

    def unpruned_of(self, model: ir.Model) -> "Press":
        """A press of another graph of the same inputs, of which nothing is pruned: what pruning has left, say."""
        rounds = self._stages.pruning.rounds
        factorizing = Factorizing(Pruning(model, None, rounds), self.factorize)
        return self._of(factorizing, self._stages.sharing.share, self._stages.quantize)

    def ship(self) -> Pressed:
        """The graphs that learned from all folds."""
        return self._stages.of(None, 0)

    def without(self, fold: int, repeat: int = 0) -> Pressed:
        """The graphs that learned from every fold but one."""
        return self._stages.of(fold, repeat)

    def _of(self, factorizing: Factorizing, share: Share | None, quantize: Quantize) -> "Press":
        """A press of another network. What is stored belongs to the one that ships."""
        return self._with(Stages(Sharing(factorizing, share, quantize.levels), quantize))

    def _with(self, stages: Stages) -> "Press":
        other = copy(self)
        other._stages = stages
        return other
