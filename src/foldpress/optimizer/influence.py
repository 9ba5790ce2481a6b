"""What an error inside a layer does to the network's outputs: measured, by cutting one group of channels at a time.

Least squares predicts the error e_g of the layers behind a cut relative to their own outputs. How much of it reaches the outputs
of the network differs from layer to layer several times over, and less with the number of channels: so one factor for each
group makes the errors of all groups comparable. It is measured with as many channels gone as an even cut would take, and with
enough that something reaches the outputs: by nearly dead channels alone, the whole group would seem to cost nothing.
"""

import math
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from foldpress.data import Array, Dataset
from foldpress.graph import batch_size, copy_graph, serialize
from foldpress.optimizer.allocation import Plan
from foldpress.optimizer.masks import mask_group
from foldpress.optimizer.repair import refit
from foldpress.runtime import open_session, predict

_SAMPLES = 64
_LEAST_SHARE = 0.25  # of the channels
_LEAST_ERROR = 1e-3  # relative to the outputs of the consumers; dead channels have one of the ridge's size, 1e-4


def measure_influence(model: ir.Model, plans: Sequence[Plan], samples: Dataset, share: float) -> None:
    """Set `influence` of every plan; where no output of the graph is a float, leave all as they are.

    `share` is that of the channels that go.
    """
    if not any(value.dtype is not None and value.dtype.is_floating_point() for value in model.graph.outputs):
        return
    few = np.unique(np.linspace(0, len(samples) - 1, _SAMPLES).astype(np.intp))
    outputs = Outputs(model, samples.select(few))
    for plan in plans:
        taken = _taken(plan, max(share, _LEAST_SHARE))
        if plan.error(taken) > 0:
            cut = copy_graph(model)
            for one in plan.consumers:
                refit(cut, one, one.without(plan.gone(taken)))
            mask_group(cut, plan.group, plan.keep(taken))
            plan.influence = outputs.error(cut) / plan.error(taken)


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
        outputs = predict(open_session(serialize(model)), self._samples, self._batch, "measuring cuts")
        return [output for output in outputs if output.dtype.kind == "f"]


def _relative(found: Array, expected: Array) -> float:
    spread = float(np.square(expected - expected.mean(0, dtype=np.float64)).mean())
    return float(np.square(found.astype(np.float64) - expected).mean()) / max(spread, float(np.finfo(np.float32).tiny))
