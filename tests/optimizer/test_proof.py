"""The proof of surgery: it lets rounding pass and nothing else."""

import numpy as np
import onnx_ir as ir
import pytest

from foldpress.data import Dataset
from foldpress.errors import GraphError
from foldpress.graph import copy_graph, initializer, set_initializer
from foldpress.optimizer.groups import find_groups
from foldpress.optimizer.masks import Masks, masked
from foldpress.optimizer.proof import prove_equal
from foldpress.optimizer.shrink import shrink
from topologies import TOPOLOGIES, build, samples

NAMES = ["residual sum", "heads", "LSTM", "depthwise pair", "flatten into a matrix"]


def pair(name: str) -> tuple[ir.Model, ir.Model, Dataset]:
    model = build(TOPOLOGIES[name])
    masks = Masks({group.name: np.arange(1, group.channels) for group in find_groups(model)[0]})
    cut = copy_graph(model)
    shrink(cut, masks)
    return masked(model, masks), cut, Dataset(samples(model, 20))


@pytest.mark.parametrize("name", NAMES)
def test_rounding_is_no_change(name: str) -> None:
    """Catches: a tolerance below what reordered sums do."""
    assert prove_equal(*pair(name)) <= 1


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [1e-3, np.nan])
def test_the_smallest_real_change_is_found(name: str, size: float) -> None:
    """Catches: a tolerance in which a wrong weight of a thousandth hides; NaN, which no comparison finds too large."""
    hidden, cut, data = pair(name)
    weight = next(value for node in cut.graph if node.op_type in ("Conv", "Gemm", "MatMul", "LSTM")
                  if (value := node.inputs[1]) is not None and value.is_initializer())  # fmt: skip
    wrong = np.array(initializer(cut, weight))
    wrong += np.float32(size)
    set_initializer(cut, str(weight.name), wrong)
    with pytest.raises(GraphError, match="removing channels changed output y by"):
        prove_equal(hidden, cut, data)


def test_outputs_of_another_shape_are_no_proof() -> None:
    """Catches: outputs compared as far as they go."""
    hidden, _, data = pair("residual sum")
    with pytest.raises(GraphError, match="changed output y by inf"):
        prove_equal(hidden, build(TOPOLOGIES["flatten into a matrix"]), data)
