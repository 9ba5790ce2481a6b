"""What an error inside a layer does to the network's outputs: measured, by cutting one group of channels at a time.

Least squares predicts the error e_g of the layers behind a cut relative to their own outputs. How much of it reaches the outputs
of the network differs from layer to layer several times over, and less with the number of channels: so one factor for each
group makes the errors of all groups comparable. It is measured with as many channels gone as an even cut would take, and with
enough that something reaches the outputs: by nearly dead channels alone, the whole group would seem to cost nothing.

What repair behind a cut takes back differs too: on ResNet-20 two fifths of the error of inner channels, and a fifth or nothing of
that of a residual stream, whose channels all later layers miss. So streams count by as much more as repair leaves more of them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir

from foldpress.data import Array, Dataset, Indices
from foldpress.graph import batch_size, copy_graph
from foldpress.optimizer.allocation import Plan
from foldpress.optimizer.hiding import hide, refit_consumers
from foldpress.runtime import open_session, predict

_SAMPLES = 64
_REPAIRED = 128  # other samples, to repair on
_LEAST_SHARE = 0.25  # of the channels
_LEAST_ERROR = 1e-3  # relative to the outputs of the consumers; dead channels have one of the ridge's size, 1e-4


def measure_influence(
    model: ir.Model, plans: Sequence[Plan], samples: Dataset, share: float, *, branches: bool = False
) -> None:
    """Set `influence` of every plan; where no output of the graph is a float, leave all as they are.

    `share` is that of the channels that go; with `branches`, what it costs if a group goes as a whole is measured too.
    """
    if not any(value.dtype is not None and value.dtype.is_floating_point() for value in model.graph.outputs):
        return
    few = few_samples(len(samples))
    rest = np.setdiff1d(np.arange(len(samples)), few)
    others = rest[_spread(len(rest), _REPAIRED)] if len(rest) else few
    measure = _Measure(model, share, Outputs(model, samples.select(few)), samples.select(others))
    plans = [plan for plan in plans if plan.error(measure.taken(plan)) > 0]
    for plan in plans:
        plan.influence = measure.error([plan]) / plan.error(measure.taken(plan))
    streams = [plan for plan in plans if len(plan.group.producers) > 1]
    inner = [plan for plan in plans if plan not in streams]
    if inner and (streams or branches):
        usual = measure.left_by_repair(inner)
        for plan in streams:
            plan.influence *= measure.left_by_repair([plan]) / usual
        for plan in inner if branches else ():
            if not plan.group.least:
                plan.branch = replace(measure, share=1.0).error([plan], repaired=True) / usual


def few_samples(count: int) -> Indices:
    """Positions of the samples that influence is measured on."""
    return _spread(count, _SAMPLES)


def _spread(count: int, most: int) -> Indices:
    """Positions of samples all over the data."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).astype(np.intp))


@dataclass(frozen=True, eq=False)
class _Measure:
    """Cuts one group or several as far as they are measured, in a copy."""

    model: ir.Model
    share: float
    outputs: "Outputs"
    repaired_on: Dataset

    def taken(self, plan: Plan) -> int:
        """How many chunks go."""
        return _taken(plan, max(self.share, _LEAST_SHARE))

    def error(self, plans: Sequence[Plan], *, repaired: bool = False) -> float:
        """Of the outputs, once each consumer by itself, or all that is behind the cuts, has made up for them."""
        cut = copy_graph(self.model)
        cuts = [replace(plan, taken=self.taken(plan)) for plan in plans]
        if repaired:
            hide(cut, cuts, self.repaired_on, together=False)
        else:
            refit_consumers(cut, cuts)
        return self.outputs.error(cut)

    def left_by_repair(self, plans: Sequence[Plan]) -> float:
        """The share of the error that is left once all layers behind have made up for it; never zero, as prices divide by it."""
        tiny = float(np.finfo(np.float32).tiny)
        return max(self.error(plans, repaired=True), tiny) / max(self.error(plans), tiny)


def _taken(plan: Plan, share: float) -> int:
    """How many chunks go while the group is measured."""
    taken = math.ceil(share * len(plan.order))
    while taken < len(plan.order) and plan.error(taken) < _LEAST_ERROR:
        taken += 1
    return taken


class Outputs:
    """A network's outputs for some samples, and how far those of another network are from them."""

    def __init__(self, model: ir.Model, samples: Dataset) -> None:
        self._samples, self._batch = samples, batch_size(model)
        self._expected = self._predict(model)

    def error(self, changed: ir.Model) -> float:
        """Squared error over the variance of each output, summed over float outputs."""
        found = self._predict(changed)
        return float(sum(_relative(mine, theirs) for mine, theirs in zip(found, self._expected, strict=True)))

    def _predict(self, model: ir.Model) -> list[Array]:
        outputs = predict(open_session(model), self._samples, self._batch, "measuring cuts")
        return [output for output in outputs if output.dtype.kind == "f"]


def _relative(found: Array, expected: Array) -> float:
    spread = float(np.square(expected - expected.mean(0, dtype=np.float64)).mean())
    return float(np.square(found.astype(np.float64) - expected).mean()) / max(spread, float(np.finfo(np.float32).tiny))
