"""What quantizing is asked for: a target and a precision, what they learn from samples, and the passes that they make."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import onnx_ir as ir

from foldpress.data import Dataset
from foldpress.optimizer.channels_last import ChannelsLast
from foldpress.optimizer.collection import Collection, Kind
from foldpress.optimizer.dynamic_int8 import DynamicInt8
from foldpress.optimizer.float16 import Float16, magnitudes, tensors_to_watch
from foldpress.optimizer.float_outputs import FloatOutputs
from foldpress.optimizer.learning import Learned, Learning
from foldpress.optimizer.nbit_weights import NBitWeights
from foldpress.optimizer.passes import LogEntry, Pass, PassResult, apply
from foldpress.optimizer.placement import nodes_left_float
from foldpress.optimizer.ranges import Method, choose_ranges, needs_histograms
from foldpress.optimizer.rounds import Rounds
from foldpress.optimizer.sensitivity import costliest, sensitivities
from foldpress.optimizer.static_int8 import StaticInt8
from foldpress.optimizer.statistics import Ranges, RangeStatistics, collect_ranges
from foldpress.optimizer.targets import Target
from foldpress.optimizer.weight_grid import levels_of
from foldpress.optimizer.weight_only import WeightOnly
from foldpress.optimizer.weights import Prepared, WeightPasses, automatic_passes
from foldpress.precision import Precision
from foldpress.weight_passes import WeightPass

STATIC_INT8 = Precision("static")


@dataclass(frozen=True)
class Quantize:
    """A target, None where the graph stays float32, and a precision; `foldpress.optimizer.press.Press` explains the fields."""

    target: Target | None
    precision: Precision = STATIC_INT8
    ranges: Method = "auto"
    keep_float: tuple[str, ...] = ()
    float_macs: float = 0.0
    weights: tuple[WeightPass, ...] | None = None

    @property
    def learns(self) -> bool:
        """Whether it looks at data, and so must not see the fold that it is judged on."""
        return self.target is not None and self.precision.learns

    @property
    def what(self) -> str:
        """The name of what it learns; statistics of one name serve every precision that learns them."""
        return "magnitudes" if self.precision.name == "float16" else "learning"

    @property
    def levels(self) -> int | None:
        """The largest integer of a weight, where each output has a scale and the integers are those of static int8."""
        return levels_of(self.target) if self.target is not None and self.precision.name == "static" else None

    def describe(self) -> str:
        """What layers compute in, and for which target."""
        if self.target is None:
            return "float32"
        return " ".join(str(part) for part in (self.precision.name, self.precision.bits, self.target.name) if part)

    def collect(
        self, model: ir.Model, rounds: Rounds, statistics: Callable[[Collection], Learning]
    ) -> RangeStatistics | Learning:
        """One pass over the samples; `statistics` gives what static int8 learns."""
        if self.what == "magnitudes":
            return collect_ranges(model, tensors_to_watch(model), rounds.samples, rounds.numbers)
        assert self.target is not None  # noqa: S101  # else nothing is quantized, and nothing is collected
        kind: Kind = "histograms" if needs_histograms(self.ranges, self.target) else "ranges"
        return statistics(Collection(model, rounds.samples, rounds.numbers, kind, self._passes(model)))

    def learned(self, collected: Any, fold: int | None, repeat: int) -> Any:
        """What a round has learned, of what was collected by fold."""
        if self.what == "magnitudes":
            return magnitudes(collected, fold, repeat)
        return collected.all() if fold is None else collected.without(fold, repeat)

    def apply(self, model: ir.Model, learned: Any, seen: Callable[[], Dataset]) -> PassResult:
        """Quantize a graph.

        Args:
            model: a float graph.
            learned: what the round has learned; None where nothing is.
            seen: gives the samples that the round may look at.
        """
        assert self.target is not None  # noqa: S101  # else nothing is quantized
        if self.precision.name == "static":
            return self._static_int8(self.target, model, learned, seen)
        return apply([self._pass(self.target, learned)], model)

    def _static_int8(
        self, target: Target, model: ir.Model, learned: Learned, seen: Callable[[], Dataset]
    ) -> PassResult:
        left_float = nodes_left_float(model, target, self.keep_float)
        if self.float_macs:
            left_float |= self._costliest(target, model, learned, seen(), left_float)
        prepared = WeightPasses(self._passes(model), target, left_float.keys()).prepare(model, learned)
        ranges, chosen = self._ranges(target, model, prepared)
        layout: list[Pass] = [ChannelsLast()] if target.on_cpu else []
        quantized = apply([StaticInt8(ranges, target, left_float), FloatOutputs(), *layout], prepared.model)
        return PassResult(quantized.model, (*prepared.log, chosen, *quantized.log))

    def _costliest(
        self, target: Target, model: ir.Model, learned: Learned, seen: Dataset, left_float: dict[str, str]
    ) -> dict[str, str]:
        """The nodes that are left float besides, where rounding costs the outputs most."""
        plain = WeightPasses((), target, left_float.keys()).prepare(model, learned)
        ranges, _ = self._ranges(target, model, plain)
        costs = sensitivities(model, ranges, target, seen)
        return costliest(model, {name: cost for name, cost in costs.items() if name not in left_float}, self.float_macs)

    def _ranges(self, target: Target, model: ir.Model, prepared: Prepared) -> tuple[Ranges, LogEntry]:
        outputs = frozenset(str(value.name) for value in model.graph.outputs)
        return choose_ranges(prepared.found, self.ranges, target, outputs)

    def _pass(self, target: Target, learned: Any) -> Pass:
        """The one pass of every precision but static int8."""
        name, bits = self.precision.name, self.precision.bits
        if name == "dynamic":
            return DynamicInt8(target)
        if name == "float16":
            return Float16(learned)
        if bits is not None:
            return NBitWeights(bits)
        return WeightOnly(8 if name == "weight-int8" else 4, target)

    def _passes(self, model: ir.Model) -> tuple[WeightPass, ...]:
        return automatic_passes(model) if self.weights is None else self.weights
