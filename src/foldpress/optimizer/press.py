"""Compression for the k-fold check: the graph that ships, and for every fold one that has not seen it.

Statistics are collected once for all folds. Where pruning itself learns from data, every round has a network of its own,
so ranges are collected anew for each; else one pass of calibration serves all rounds.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from foldpress.data import Dataset, Indices
from foldpress.errors import RequestError
from foldpress.optimizer.dynamic_int8 import DynamicInt8
from foldpress.optimizer.float_outputs import FloatOutputs
from foldpress.optimizer.gram import GramStatistics, collect_grams
from foldpress.optimizer.histogram import Histograms, HistogramStatistics
from foldpress.optimizer.passes import LogEntry, Pass, PassResult, apply
from foldpress.optimizer.ranges import Method, choose_ranges, needs_histograms
from foldpress.optimizer.saved_statistics import Collection
from foldpress.optimizer.static_int8 import StaticInt8, tensors_to_calibrate
from foldpress.optimizer.statistics import Ranges, RangeStatistics
from foldpress.optimizer.structured import Budget, PruneStructured, layers_to_observe
from foldpress.optimizer.targets import Target
from foldpress.optimizer.unstructured import PruneThreshold, PruneTwoFour

Precision = Literal["static", "dynamic"]
_PRECISIONS: dict[str, Precision] = {"static": "static", "dynamic": "dynamic"}


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
        precision: static int8 from those ranges, or dynamic int8, which needs none.
        store: a file for the statistics that all rounds share, or None to keep them in memory only.
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
        precision: Precision = "static",
        store: Path | None = None,
    ) -> None:
        self._model, self._calibration, self._numbers = model, calibration, numbers
        self._prune, self._target, self._method, self._precision = prune, target, ranges, precision
        self._store = store
        self._shared: RangeStatistics | HistogramStatistics | None = None

    @property
    def learns(self) -> bool:
        """Whether the calibration samples decide anything."""
        return (self._prune is not None and self._prune.learns) or self._calibrates

    @property
    def _calibrates(self) -> bool:
        return self._target is not None and self._precision == "static"

    def collect(self) -> None:
        """Collect, in one pass, the statistics that all rounds share, and store them. Otherwise the first round does it."""
        if self._store is not None:
            self._store.unlink(missing_ok=True)
        if self._prune is not None and self._prune.learns:
            _ = self._grams
        elif self._calibrates:
            self._shared_statistics(self._pruned(None, 0).model)

    def ship(self) -> Pressed:
        """The graphs that learned from all folds."""
        return self._press(None, 0)

    def without(self, fold: int, repeat: int = 0) -> Pressed:
        """The graphs that learned from every fold but one."""
        return self._press(fold, repeat)

    def _press(self, fold: int | None, repeat: int) -> Pressed:
        pruned = self._pruned(fold, repeat)
        if self._target is None:
            return Pressed(pruned.model if self._prune else None, None, pruned.log)
        if self._precision == "dynamic":
            dynamic = apply([DynamicInt8(self._target)], pruned.model)
            return Pressed(pruned.model if self._prune else None, dynamic.model, pruned.log + dynamic.log)
        outputs = frozenset(str(value.name) for value in pruned.model.graph.outputs)
        statistics = self._statistics_for(pruned.model, fold, repeat)
        ranges, chosen = choose_ranges(statistics, self._method, self._target, outputs)
        quantized = apply([StaticInt8(ranges, self._target), FloatOutputs()], pruned.model)
        return Pressed(pruned.model if self._prune else None, quantized.model, (*pruned.log, chosen, *quantized.log))

    def _pruned(self, fold: int | None, repeat: int) -> PassResult:
        if self._prune is None:
            return PassResult(self._model)
        return apply([self._prune.make(self._grams_for(fold, repeat))], self._model)

    def _grams_for(self, fold: int | None, repeat: int) -> dict[str, NDArray[np.float64]]:
        if self._prune is None or not self._prune.learns:
            return {}
        return self._grams.all() if fold is None else self._grams.without(fold, repeat)

    def _statistics_for(self, model: ir.Model, fold: int | None, repeat: int) -> Ranges | Histograms:
        if self._prune is not None and self._prune.learns:  # a network of this round's own
            chosen = self._numbers[repeat] != fold if fold is not None else np.ones(len(self._calibration), bool)
            seen = self._calibration.select(np.flatnonzero(chosen))
            return self._collection(model, seen, np.zeros((1, len(seen)), np.intp)).collect().all()
        shared = self._shared_statistics(model)
        return shared.all() if fold is None else shared.without(fold, repeat)

    def _shared_statistics(self, model: ir.Model) -> RangeStatistics | HistogramStatistics:
        """Statistics by fold of the one network that all rounds quantize."""
        if self._shared is None:
            collection = self._collection(model, self._calibration, self._numbers)
            self._shared = collection.stored(self._store) if self._store is not None else collection.collect()
        return self._shared

    def _collection(self, model: ir.Model, calibration: Dataset, numbers: Indices) -> Collection:
        spread = self._target is not None and needs_histograms(self._method, self._target)
        return Collection(
            model, tensors_to_calibrate(model), calibration, numbers, "histograms" if spread else "ranges"
        )

    @cached_property
    def _grams(self) -> GramStatistics:
        layers = layers_to_observe(self._model)
        if not layers:
            raise RequestError(
                "no layer of this graph can lose channels: each feeds a residual sum, an output, or what is not understood",
                mend='leave [prune] out, or use method = "unstructured"',
            )
        return collect_grams(self._model, layers, self._calibration, self._numbers)


def choose_precision(name: str) -> Precision:
    """The precision of that name.

    Raises:
        RequestError: there is no such precision.
    """
    if name not in _PRECISIONS:
        raise RequestError(f"there is no precision {name!r}", available=", ".join(_PRECISIONS))
    return _PRECISIONS[name]


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


def shortage(numbers: Indices, samples: int) -> tuple[LogEntry, ...]:
    """What the log says where fewer calibration samples are there than were asked for.

    Args:
        numbers: fold number of every calibration sample, [repeats, N].
        samples: how many were asked for.
    """
    counts = np.bincount(numbers[0])
    several = len(counts) > 1
    available = int(counts.sum() - (counts.max() if several else 0))
    if available >= samples:
        return ()
    whose = " when a fold is left out" if several else ""
    return (LogEntry("calibration", "samples", "declined", f"asked for {samples}, {available} available{whose}"),)
