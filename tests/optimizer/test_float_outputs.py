from collections import Counter

import numpy as np
import onnx_ir as ir
import pytest

from foldpress.data import Dataset
from foldpress.graph import serialize
from foldpress.optimizer.float_outputs import FloatOutputs
from foldpress.optimizer.passes import apply
from foldpress.optimizer.static_int8 import StaticInt8, tensors_to_calibrate
from foldpress.optimizer.statistics import collect_ranges
from foldpress.optimizer.targets import TARGETS
from foldpress.runtime import open_session, predict

pytest_plugins = ["trained"]


@pytest.fixture(scope="module")
def data(digits_graph: ir.Model, digits_data: Dataset) -> Dataset:
    return digits_data.renamed({"x": digits_graph.graph.inputs[0].name or ""})


@pytest.fixture(scope="module")
def quantized(digits_graph: ir.Model, data: Dataset) -> ir.Model:
    numbers = np.zeros((1, 200), np.intp)
    statistics = collect_ranges(digits_graph, tensors_to_calibrate(digits_graph), data.select(np.arange(200)), numbers)
    return apply([StaticInt8(statistics.all(), TARGETS["x86-vnni"])], digits_graph).model


def test_scores_are_no_longer_rounded_and_come_closer(
    quantized: ir.Model, digits_graph: ir.Model, data: Dataset
) -> None:
    """Catches: a pair left in place, or the wrong one removed."""
    result = apply([FloatOutputs()], quantized)
    before, after = (Counter(node.op_type for node in model.graph) for model in (quantized, result.model))
    assert before - after == {"QuantizeLinear": 1, "DequantizeLinear": 1}
    exact, rounded, freed = (
        predict(open_session(serialize(model)), data, 64)[0] for model in (digits_graph, quantized, result.model)
    )
    assert len(np.unique(rounded)) <= 256 < len(np.unique(freed))
    assert np.square(freed - exact).mean() < np.square(rounded - exact).mean()
    assert result.model.graph.outputs[0].name == digits_graph.graph.outputs[0].name


def test_a_second_time_there_is_nothing_to_do(quantized: ir.Model) -> None:
    """Catches: a pass that is not idempotent."""
    once = apply([FloatOutputs()], quantized)
    twice = apply([FloatOutputs()], once.model)
    assert once.log
    assert not twice.log
    assert serialize(twice.model) == serialize(once.model)


def test_a_float_graph_is_left_alone(digits_graph: ir.Model) -> None:
    """Catches: outputs renamed where nothing was quantized."""
    assert serialize(apply([FloatOutputs()], digits_graph).model) == serialize(digits_graph)
