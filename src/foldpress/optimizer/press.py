"""Compression for the k-fold check: the graph that ships, and for every fold one that has not seen it.

Statistics are collected once for all folds. Where pruning itself learns from data, every round has a network of its own,
so ranges are collected anew for each; else one pass of calibration serves all rounds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from foldpress.data import Dataset, Indices
from foldpress.errors import RequestError
from foldpress.optimizer.dynamic_int8 import DynamicInt8
from foldpress.optimizer.float16 import Float16, magnitudes, tensors_to_watch
from foldpress.optimizer.float_outputs import FloatOutputs
from foldpress.optimizer.gram import GramStatistics, collect_grams
from foldpress.optimizer.histogram import collect_histograms
from foldpress.optimizer.nbit_weights import NBitWeights
from foldpress.optimizer.passes import LogEntry, Pass, PassResult, apply
from foldpress.optimizer.placement import nodes_left_float
from foldpress.optimizer.ranges import Method, choose_ranges, needs_histograms
from foldpress.optimizer.static_int8 import StaticInt8, tensors_to_calibrate
from foldpress.optimizer.statistics import RangeStatistics, collect_ranges
from foldpress.optimizer.structured import Budget, PruneStructured, layers_to_observe
from foldpress.optimizer.targets import Target
from foldpress.optimizer.unstructured import PruneThreshold, PruneTwoFour
from foldpress.optimizer.weight_only import WeightOnly
from foldpress.optimizer.weights import Learned, Learning, WeightPasses
from foldpress.precision import Precision
from foldpress.weight_passes import AUTO, WeightPass

STATIC_INT8 = Precision("static")


@dataclass(frozen=True)
class Prune:
    """What pruning is asked for: a method, and its budget."""

    method: Literal["structured", "unstructured", "2:4"]
    macs: float | None = None
    parameters: float | None = None
    bytes: float | None = None
    sparsity: float | None = None
    threshold: float | None = None

    @property
    def learns(self) -> bool:
        """Whether it looks at data, and so must not see the fold that it is judged on."""
        return self.method == "structured"

    def make(self, grams: dict[str, NDArray[np.float64]]) -> Pass:
        """The pass, given what it learns from."""
        if self.method == "2:4":
            return PruneTwoFour()
        if self.method == "unstructured":
            return PruneThreshold(self.sparsity, self.threshold)
        budgets: dict[Budget, float | None] = {"macs": self.macs, "parameters": self.parameters, "bytes": self.bytes}
        for kind, share in budgets.items():
            if share is not None:
                return PruneStructured(kind, share, grams)
        raise RequestError("structured pruning needs a budget", available=", ".join(budgets))


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
        precision: what the graph is to hold and compute in.
        keep_float: names of nodes, or types of operators, that static int8 leaves float.
        weights: passes over float weights before static int8.
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
        weights: tuple[WeightPass, ...] = AUTO,
    ) -> None:
        self._model, self._calibration, self._numbers = model, calibration, numbers
        self._prune, self._target, self._method, self._precision = prune, target, ranges, precision
        self._keep_float, self._weights = tuple(keep_float), weights
        self._shared: RangeStatistics | Learning | None = None

    def collect(self) -> None:
        """Collect, in one pass, the statistics that all rounds share. Otherwise the first round does it."""
        if self._prune is not None and self._prune.learns:
            _ = self._grams
        elif self._target is not None and self._precision.learns:
            self._shared_statistics(self._pruned(None, 0).model)

    def ship(self) -> Pressed:
        """The graphs that learned from all folds."""
        return self._alike if self._is_blind else self._press(None, 0)

    def without(self, fold: int, repeat: int = 0) -> Pressed:
        """The graphs that learned from every fold but one."""
        return self._alike if self._is_blind else self._press(fold, repeat)

    @property
    def _is_blind(self) -> bool:
        """Whether nothing looks at data: then all rounds make the same graph."""
        quantizes_blindly = self._target is None or not self._precision.learns
        return quantizes_blindly and not (self._prune is not None and self._prune.learns)

    @cached_property
    def _alike(self) -> Pressed:
        return self._press(None, 0)

    def _press(self, fold: int | None, repeat: int) -> Pressed:
        pruned = self._pruned(fold, repeat)
        if self._target is None:
            return Pressed(pruned.model if self._prune else None, None, pruned.log)
        if self._precision.name != "static":
            made = apply([self._precision_pass(self._target, pruned.model, fold, repeat)], pruned.model)
            return Pressed(pruned.model if self._prune else None, made.model, pruned.log + made.log)
        outputs = frozenset(str(value.name) for value in pruned.model.graph.outputs)
        left_float = nodes_left_float(pruned.model, self._target, self._keep_float)
        learned = self._learned(pruned.model, fold, repeat)
        prepared = WeightPasses(self._weights, self._target, left_float.keys()).prepare(pruned.model, learned)
        ranges, chosen = choose_ranges(prepared.found, self._method, self._target, outputs)
        quantized = apply([StaticInt8(ranges, self._target, left_float), FloatOutputs()], prepared.model)
        log = (*pruned.log, *prepared.log, chosen, *quantized.log)
        return Pressed(pruned.model if self._prune else None, quantized.model, log)

    def _precision_pass(self, target: Target, model: ir.Model, fold: int | None, repeat: int) -> Pass:
        """The one pass of every precision but static int8."""
        name, bits = self._precision.name, self._precision.bits
        if name == "dynamic":
            return DynamicInt8(target)
        if name == "float16":
            found, without = self._collected(model, fold, repeat)
            assert isinstance(found, RangeStatistics)  # noqa: S101  # what _collect makes for float16
            return Float16(magnitudes(found, without, repeat))
        if bits is not None:
            return NBitWeights(bits)
        return WeightOnly(8 if name == "weight-int8" else 4, target)

    def _pruned(self, fold: int | None, repeat: int) -> PassResult:
        if self._prune is None:
            return PassResult(self._model)
        return apply([self._prune.make(self._grams_for(fold, repeat))], self._model)

    def _grams_for(self, fold: int | None, repeat: int) -> dict[str, NDArray[np.float64]]:
        if self._prune is None or not self._prune.learns:
            return {}
        return self._grams.all() if fold is None else self._grams.without(fold, repeat)

    def _learned(self, model: ir.Model, fold: int | None, repeat: int) -> Learned:
        found, without = self._collected(model, fold, repeat)
        assert isinstance(found, Learning)  # noqa: S101  # what _collect makes for static int8
        return found.all() if without is None else found.without(without, repeat)

    def _collected(
        self, model: ir.Model, fold: int | None, repeat: int
    ) -> tuple[RangeStatistics | Learning, int | None]:
        """Statistics of that network, and the fold that has yet to be left out of them."""
        if self._prune is not None and self._prune.learns:  # a network of this round's own
            chosen = self._numbers[repeat] != fold if fold is not None else np.ones(len(self._calibration), bool)
            seen = self._calibration.select(np.flatnonzero(chosen))
            return self._collect(model, seen, np.zeros((1, len(seen)), np.intp)), None
        return self._shared_statistics(model), fold

    def _shared_statistics(self, model: ir.Model) -> RangeStatistics | Learning:
        """Statistics by fold of the one network that all rounds quantize."""
        if self._shared is None:
            self._shared = self._collect(model, self._calibration, self._numbers)
        return self._shared

    def _collect(self, model: ir.Model, calibration: Dataset, numbers: Indices) -> RangeStatistics | Learning:
        if self._precision.name == "float16":
            return collect_ranges(model, tensors_to_watch(model), calibration, numbers)
        assert self._target is not None  # noqa: S101  # else nothing is quantized, and nothing is collected
        collect = collect_histograms if needs_histograms(self._method, self._target) else collect_ranges
        passes = WeightPasses(
            self._weights, self._target, nodes_left_float(model, self._target, self._keep_float).keys()
        )
        return passes.learn(model, tensors_to_calibrate(model), collect, calibration, numbers)

    @cached_property
    def _grams(self) -> GramStatistics:
        layers = layers_to_observe(self._model)
        if not layers:
            raise RequestError(
                "no layer of this graph can lose channels: each feeds a residual sum, an output, or what is not understood",
                mend='leave [prune] out, or use method = "unstructured"',
            )
        return collect_grams(self._model, layers, self._calibration, self._numbers)


def calibration_rows(numbers: Indices, samples: int, seed: int) -> Indices:
    """Samples to calibrate on, sorted: about `samples` remain when any one fold is left out.

    Args:
        numbers: fold number of every sample, [repeats, N].
        samples: how many are wanted.
        seed: of the draw.
    """
    folds = int(numbers.max()) + 1
    wanted = -(-samples // max(folds - 1, 1))
    generator = np.random.default_rng(seed)
    chosen = [generator.permutation(np.flatnonzero(numbers[0] == fold))[:wanted] for fold in range(folds)]
    return np.sort(np.concatenate(chosen))
