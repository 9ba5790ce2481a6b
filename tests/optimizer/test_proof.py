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
from topologies import IMAGE, TOPOLOGIES, build, graph, samples

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


def test_a_class_may_change_where_two_scores_are_equal() -> None:
    """Catches: a job stopped by a tie that rounding decides."""
    body = "a = Conv(x, w)  r = Relu(a)  s = Conv(r, v)  y = ArgMax<axis=1, keepdims=0>(s)"
    model = graph(body, {"w": (8, 3, 1, 1), "v": (5, 8, 1, 1)}, IMAGE, "int64[N, 6, 6]")
    other = copy_graph(model)
    set_initializer(other, "v", np.array(initializer(model, model.graph.initializers["v"]))[::-1])
    assert prove_equal(model, other, Dataset(samples(model, 4))) == 0
