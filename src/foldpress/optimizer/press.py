"""Compression for the k-fold check: the graph that ships, and for every fold one that has not seen it.

Statistics are collected once for all folds. Where pruning itself learns from data, every round has a network of its own,
so ranges are collected anew for each; else one pass of calibration serves all rounds.
"""

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import onnx_ir as ir

from foldpress.data import Dataset, Indices
from foldpress.errors import RequestError
from foldpress.graph import copy_graph
from foldpress.optimizer.blas import one_thread
from foldpress.optimizer.channels_last import ChannelsLast
from foldpress.optimizer.collection import Collection, Kind
from foldpress.optimizer.dynamic_int8 import DynamicInt8
from foldpress.optimizer.float16 import Float16, magnitudes, tensors_to_watch
from foldpress.optimizer.float_outputs import FloatOutputs
from foldpress.optimizer.gates import with_gates
from foldpress.optimizer.gram import GramStatistics, collect_grams
from foldpress.optimizer.hiding import clear_branches
from foldpress.optimizer.learning import Learned, Learning
from foldpress.optimizer.masks import Masks
from foldpress.optimizer.nbit_weights import NBitWeights
from foldpress.optimizer.passes import LogEntry, Pass, PassResult, apply
from foldpress.optimizer.placement import nodes_left_float
from foldpress.optimizer.prune import Prune
from foldpress.optimizer.ranges import Method, choose_ranges, needs_histograms
from foldpress.optimizer.sensitivity import costliest, sensitivities
from foldpress.optimizer.shrink import shrink
from foldpress.optimizer.static_int8 import StaticInt8
from foldpress.optimizer.statistics import RangeStatistics, collect_ranges
from foldpress.optimizer.structured import PruneStructured, layers_to_observe
from foldpress.optimizer.targets import Target
from foldpress.optimizer.weight_only import WeightOnly
from foldpress.optimizer.weights import WeightPasses, automatic_passes
from foldpress.precision import Precision
from foldpress.weight_passes import WeightPass

STATIC_INT8 = Precision("static")
_FEW = 8  # samples; ranges do not change how long a graph takes


@dataclass(frozen=True, eq=False)
class Pressed:
    """The graphs of one round, each None where its stage was not asked for, and the log of both."""

    pruned: ir.Model | None
    quantized: ir.Model | None
    log: tuple[LogEntry, ...]


class Press:
    """Compress one float graph for every round of the k-fold check and once to ship.

    Args:
        model: a cleaned float graph with shapes.
        calibration: the samples to learn from.
        numbers: their fold numbers, [repeats, N].
        prune: what to prune, or None.
        target: what to quantize for, or None.
        ranges: how they are chosen.
        precision: what the graph is to hold and compute in; "auto" has to be settled by `at`.
        keep_float: names of nodes, or types of operators, that static int8 leaves float.
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
        prune: Prune | None,
        target: Target | None,
        ranges: Method = "auto",
        precision: Precision = STATIC_INT8,
        keep_float: Sequence[str] = (),
        float_macs: float = 0.0,
        weights: tuple[WeightPass, ...] | None = None,
        statistics: Callable[[Collection], Learning] = Collection.collect,
    ) -> None:
        self.model, self._calibration, self._numbers = model, calibration, numbers
        self.prune, self.target, self._method, self.precision = prune, target, ranges, precision
        self.keep_float, self._float_macs, self._weights = tuple(keep_float), float_macs, weights
        self._statistics = statistics
        self._made: dict[str, Any] = {}  # what several rounds or precisions need, by name
        halves = {ir.DataType.FLOAT16, ir.DataType.BFLOAT16}
        if target is not None and any(value.dtype in halves for value in model.graph.initializers.values()):
            raise RequestError("the graph is float16 already", mend="start from the float32 graph")

    @property
    def learns(self) -> bool:
        """Whether the calibration samples decide anything."""
        return self._prunes_by_data or (self.target is not None and self.precision.learns)

    @property
    def leaves_float(self) -> bool:
        """Whether single layers are to stay float, as only static int8 can."""
        return bool(self.keep_float or self._float_macs)

    def collect(self) -> None:
        """Collect the statistics that all rounds share. Otherwise the first round does it."""
        if self._prunes_by_data:
            _ = self._grams
        elif self.learns:
            self._shared()

    def at(self, precision: Precision | None) -> "Press":
        """The same press at another precision, None being float32; what was collected is shared."""
        other = copy(self)
        if precision is None:
            other.target = None
        else:
            other.precision = precision
        return other

    @property
    def _few(self) -> Dataset:
        """Enough to quantize a graph that is only timed."""
        return self._calibration.select(np.arange(min(_FEW, len(self._calibration))))

    @property
    def protected(self) -> tuple[str, ...]:
        """Layers that pruning leaves as they are, by name."""
        return self.prune.protect if self.prune is not None else ()

    @property
    def removes_channels(self) -> bool:
        """Whether pruning may change how long the network takes."""
        return self._prunes_by_data

    def describe(self) -> str:
        """What the layers of its graphs compute in, and for which target."""
        if self.target is None:
            return "float32"
        return " ".join(str(part) for part in (self.precision.name, self.precision.bits, self.target.name) if part)

    def fingerprint(self) -> str:
        """A digest of the samples to learn from."""
        return self._calibration.fingerprint()

    def pruning(self, prune: Prune | None) -> "Press":
        """The same press with another budget for the same layers, or none; it shares what pruning learns from."""
        other = copy(self)
        other.prune = prune
        other._made = {name: made for name, made in self._made.items() if name == "grams"}
        other._statistics = Collection.collect  # what is stored belongs to the network that ships
        return other

    def rough(self, model: ir.Model, samples: Dataset) -> ir.Model:
        """Another graph in the precision of this press, good for timing alone: `samples` may be few and made up."""
        other = self.pruning(None)
        other.model, other._calibration, other._numbers = model, samples, np.zeros((1, len(samples)), np.intp)
        other._weights, other._made = (), {}
        return other.ship().quantized or model

    def halves(self, fold: int | None, repeat: int) -> "Press":
        """A press of float32 for what the round without `fold` may look at, with two folds: folds stay whole where they can."""
        other = self.at(None)
        seen = self._numbers[repeat] != (-1 if fold is None else fold)
        folds, ranks = np.unique(self._numbers[repeat, seen], return_inverse=True)
        half = ranks % 2 if len(folds) > 1 else np.arange(np.count_nonzero(seen)) % 2
        other._calibration, other._numbers = self._seen(fold, repeat), half[None].astype(np.intp)
        other._statistics, other._made = Collection.collect, {}
        return other

    def held_out(self, fold: int, repeat: int = 0) -> Dataset:
        """The calibration samples of one fold."""
        return self._calibration.select(np.flatnonzero(self._numbers[repeat] == fold))

    def unpruned(self) -> ir.Model:
        """The graph that nothing was cut from in the precision of this press, good for timing alone."""
        return self.rough(self.model, self._few)

    def sketch(self) -> tuple[dict[str, int], ir.Model]:
        """How many channels each group is left with, and what `ship` would give, good for timing alone: nothing is repaired."""
        assert self.prune is not None  # noqa: S101  # else there is nothing to sketch
        made = self.prune.make(self._grams.all(), self._calibration)
        assert isinstance(made, PruneStructured)  # noqa: S101  # only channels change the time
        with one_thread():
            plans = made.decide(self.model)
        cut = copy_graph(self.model)
        clear_branches(cut, plans)
        shrink(cut, Masks({plan.group.name: plan.keep() for plan in plans if plan.taken}))
        return {plan.group.name: plan.remaining(plan.taken) for plan in plans}, self.rough(cut, self._few)

    def float_graph(self) -> ir.Model:
        """What is quantized: the graph pruned on all folds, or the one that was given."""
        return self._pruned(None, 0).model

    def ship(self) -> Pressed:
        """The graphs that learned from all folds."""
        return self._press(None, 0)

    def without(self, fold: int, repeat: int = 0) -> Pressed:
        """The graphs that learned from every fold but one."""
        if self.learns:
            return self._press(fold, repeat)
        pressed: Pressed = self._once(f"graph {self.precision}", self.ship)
        return pressed

    def _once(self, name: str, make: Callable[[], Any]) -> Any:
        if name not in self._made:
            self._made[name] = make()
        return self._made[name]

    def _press(self, fold: int | None, repeat: int) -> Pressed:
        pruned = self._pruned(fold, repeat)
        kept = pruned.model if self.prune else None
        if self.target is None:
            return Pressed(kept, None, pruned.log)
        if self.precision.name == "static":
            made = self._static_int8(self.target, pruned.model, fold, repeat)
        else:
            made = apply([self._precision_pass(self.target, pruned.model, fold, repeat)], pruned.model)
        return Pressed(kept, made.model, pruned.log + made.log)

    def _static_int8(self, target: Target, model: ir.Model, fold: int | None, repeat: int) -> PassResult:
        learned = self._learned(model, fold, repeat)
        outputs = frozenset(str(value.name) for value in model.graph.outputs)
        left_float = nodes_left_float(model, target, self.keep_float)
        if self._float_macs:
            plain = WeightPasses((), target, left_float.keys()).prepare(model, learned)
            ranges, _ = choose_ranges(plain.found, self._method, target, outputs)
            costs = sensitivities(model, ranges, target, self._seen(fold, repeat))
            costs = {name: cost for name, cost in costs.items() if name not in left_float}
            left_float |= costliest(model, costs, self._float_macs)
        prepared = WeightPasses(self._passes(model), target, left_float.keys()).prepare(model, learned)
        ranges, chosen = choose_ranges(prepared.found, self._method, target, outputs)
        layout: list[Pass] = [ChannelsLast()] if target.on_cpu else []
        quantized = apply([StaticInt8(ranges, target, left_float), FloatOutputs(), *layout], prepared.model)
        return PassResult(quantized.model, (*prepared.log, chosen, *quantized.log))

    def _precision_pass(self, target: Target, model: ir.Model, fold: int | None, repeat: int) -> Pass:
        """The one pass of every precision but static int8."""
        name, bits = self.precision.name, self.precision.bits
        if name == "dynamic":
            return DynamicInt8(target)
        if name == "float16":
            found, without = self._collected(model, fold, repeat)
            return Float16(magnitudes(found, without, repeat))
        if bits is not None:
            return NBitWeights(bits)
        return WeightOnly(8 if name == "weight-int8" else 4, target)

    def _passes(self, model: ir.Model) -> tuple[WeightPass, ...]:
        return automatic_passes(model) if self._weights is None else self._weights

    @property
    def _prunes_by_data(self) -> bool:
        return self.prune is not None and self.prune.learns

    def _pruned(self, fold: int | None, repeat: int) -> PassResult:
        """The network of a round; all rounds share it unless pruning looks at data."""
        if not self._prunes_by_data or fold is None:
            pruned: PassResult = self._once("pruned", lambda: self._prune_without(None, repeat))
            return pruned
        return self._prune_without(fold, repeat)

    def _prune_without(self, fold: int | None, repeat: int) -> PassResult:
        if self.prune is None:
            return PassResult(self.model)
        if not self._prunes_by_data:
            return apply([self.prune.make({}, self._calibration)], self.model)
        grams = self._grams.all() if fold is None else self._grams.without(fold, repeat)
        with one_thread():
            return apply([self.prune.make(grams, self._seen(fold, repeat))], self.model)

    @property
    def _grams(self) -> GramStatistics:
        shown = with_gates(self.model)
        layers = layers_to_observe(shown, self.protected)
        if not layers:
            raise RequestError(
                "no layer of this graph can lose channels: each is protected, feeds an output or what is not understood",
                mend='leave [prune] out, or use method = "unstructured"',
            )
        collect = partial(collect_grams, shown, layers, self._calibration, self._numbers)
        grams: GramStatistics = self._once("grams", collect)
        return grams

    def _seen(self, fold: int | None, repeat: int) -> Dataset:
        """The samples that a round may look at."""
        return self._calibration.select(np.flatnonzero(self._numbers[repeat] != (-1 if fold is None else fold)))

    def _learned(self, model: ir.Model, fold: int | None, repeat: int) -> Learned:
        found, without = self._collected(model, fold, repeat)
        learned: Learned = found.all() if without is None else found.without(without, repeat)
        return learned

    def _collected(self, model: ir.Model, fold: int | None, repeat: int) -> tuple[Any, int | None]:
        """Statistics of a round's network, and the fold that has yet to be left out of them."""
        if not self._prunes_by_data:
            return self._shared(), fold
        seen = self._seen(fold, repeat)
        collect = partial(self._collect, model, seen, np.zeros((1, len(seen)), np.intp))
        return (self._once(self._kind, collect) if fold is None else collect()), None

    def _shared(self) -> RangeStatistics | Learning:
        """Statistics by fold of the one network that all rounds quantize."""
        collect = partial(self._collect, self.float_graph(), self._calibration, self._numbers, self._statistics)
        shared: RangeStatistics | Learning = self._once(self._kind, collect)
        return shared

    @property
    def _kind(self) -> str:
        """What this precision learns."""
        return "magnitudes" if self.precision.name == "float16" else "learning"

    def _collect(
        self,
        model: ir.Model,
        calibration: Dataset,
        numbers: Indices,
        statistics: Callable[[Collection], Learning] = Collection.collect,
    ) -> RangeStatistics | Learning:
        if self._kind == "magnitudes":
            return collect_ranges(model, tensors_to_watch(model), calibration, numbers)
        assert self.target is not None  # noqa: S101  # else nothing is quantized, and nothing is collected
        kind: Kind = "histograms" if needs_histograms(self._method, self.target) else "ranges"
        return statistics(Collection(model, calibration, numbers, kind, self._passes(model)))
