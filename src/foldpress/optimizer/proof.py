"""Proof on real samples that surgery has changed nothing.

The shrunk graph leaves out what the masked one multiplies by zero, so their outputs differ by rounding alone. How much that can
be is seen as in `exporter.parity`: an inner product of length K computed in floating point is the exact one with weights
perturbed relatively by about u·√K (Higham and Mary, SIAM J. Sci. Comput. 2019), so the weights are perturbed that much, and

    tolerance = margin · max |f(x; w ⊙ (1 + u √K ε)) − f(x; w)|,   ε = ±1 at random, several draws
"""

import numpy as np
import onnx_ir as ir

from foldpress.data import Array, Dataset
from foldpress.errors import GraphError
from foldpress.graph import batch_size, copy_graph, initializer, set_initializer
from foldpress.runtime import open_session, predict

_SAMPLES = 32
_DRAWS = 3
# Both graphs may err in opposite directions (2), and a maximum over a few draws understates the one over all roundings (4).
_MARGIN = 8.0


def prove_equal(masked: ir.Model, shrunk: ir.Model, samples: Dataset) -> float:
    """The largest difference of any output as a share of what rounding explains, at most 1.

    Raises:
        GraphError: a float output differs by more, or an output has another shape.
    """
    few = samples.select(np.unique(np.linspace(0, len(samples) - 1, _SAMPLES).astype(np.intp)))
    batch = batch_size(masked)
    expected, found = _outputs(masked, few, batch), _outputs(shrunk, few, batch)
    limits = _tolerances(masked, few, batch, expected)
    worst = 0.0
    for value, mine, theirs, limit in zip(masked.graph.outputs, found, expected, limits, strict=True):
        rounds = (
            mine.dtype.kind == "f"
        )  # whole numbers, such as predicted classes, may change where two scores are close
        largest = np.inf if mine.shape != theirs.shape else _difference(mine, theirs) if rounds else 0.0
        if not largest <= limit:
            raise GraphError(
                f"removing channels changed output {value.name} by {largest:.3g}; rounding explains {limit:.3g}",
                mend='report this as a bug; method = "unstructured" removes no channels',
            )
        worst = max(worst, largest / limit if limit else 0.0)
    return worst


def _tolerances(model: ir.Model, samples: Dataset, batch: int, expected: list[Array]) -> list[float]:
    generator = np.random.default_rng(0)
    draws = [_outputs(_perturbed(model, generator), samples, batch) for _ in range(_DRAWS)]
    seen = [max(_difference(draw[number], one) for draw in draws) for number, one in enumerate(expected)]
    floors = [_roundoff(one) * float(np.abs(one).max(initial=0)) for one in expected]
    return [_MARGIN * max(pair) for pair in zip(seen, floors, strict=True)]


def _perturbed(model: ir.Model, generator: np.random.Generator) -> ir.Model:
    model = copy_graph(model)
    for name, value in list(model.graph.initializers.items()):
        stored = initializer(model, value)
        if stored is not None and stored.dtype.kind == "f" and not value.is_graph_input():
            length = stored[0].size if stored.ndim > 1 else 1
            signs = generator.choice(np.array([-1, 1], np.float32), stored.shape)
            relative = stored.dtype.type(_roundoff(stored) * length**0.5)
            set_initializer(model, name, (stored * (1 + signs * relative)).astype(stored.dtype))
    return model


def _outputs(model: ir.Model, samples: Dataset, batch: int) -> list[Array]:
    return predict(open_session(model), samples, batch, "proving")


def _difference(found: Array, expected: Array) -> float:
    """The largest; NaN and infinities equal themselves."""
    with np.errstate(invalid="ignore"):
        apart = np.abs(found.astype(np.float64) - expected.astype(np.float64))
    same = (found == expected) | ((found != found) & (expected != expected))
    return float(np.where(same, 0.0, np.nan_to_num(apart, nan=np.inf)).max(initial=0.0))


def _roundoff(array: Array) -> float:
    return float(np.finfo(array.dtype).eps) / 2 if array.dtype.kind == "f" else 0.0
