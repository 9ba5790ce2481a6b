from typing import Any

import numpy as np
import onnx.numpy_helper
import onnx_ir as ir
import pytest

from conftest import Classifier
from foldpress.data import Dataset
from foldpress.optimizer.cleanup import clean_up
from foldpress.optimizer.passes import apply
from foldpress.optimizer.press import Press
from foldpress.optimizer.sensitivity import costliest, sensitivities
from foldpress.optimizer.static_int8 import tensors_to_calibrate
from foldpress.optimizer.statistics import Ranges, collect_ranges
from foldpress.optimizer.targets import TARGETS
from foldpress.precision import Precision

Floats = Any


@pytest.fixture
def graph(classifier: Classifier) -> ir.Model:
    """Two layers: the hidden one has four times the MACs of the last, and more."""
    return apply(clean_up(), ir.from_proto(classifier.proto)).model


@pytest.fixture
def data(classifier: Classifier) -> Dataset:
    return Dataset({"x": classifier.held_out["x"][:32]})


@pytest.fixture
def ranges(graph: ir.Model, data: Dataset) -> Ranges:
    return collect_ranges(graph, tensors_to_calibrate(graph), data, np.zeros((1, 32), np.intp)).all()


def layers(graph: ir.Model) -> list[str]:
    return [str(node.name) for node in graph.graph if node.op_type == "Gemm"]


def rounded(values: Floats, target: Any) -> Floats:
    """An activation on 8 bits over its own extremes and 0, as slowly as it reads."""
    low, high = min(values.min(), 0), max(values.max(), 0)
    if target.symmetric_activations:
        largest = max(-low, high)
        return np.clip(np.rint(values / (2 * largest / 255)), -128, 127) * (2 * largest / 255)
    scale = (high - low) / 255
    zero = round(-low / scale)
    return (np.clip(np.rint(values / scale) + zero, 0, 255) - zero) * scale


def rounded_by_column(weight: Floats, target: Any) -> Floats:
    scale = np.abs(weight).max(0) / (64 if target.reduce_range else 127)
    return np.rint(weight / scale) * scale


@pytest.mark.parametrize("name", ["x86-vnni", "x86", "arm"])
def test_costs_are_those_of_rounding_one_layer_alone(
    name: str, graph: ir.Model, classifier: Classifier, data: Dataset, ranges: Ranges
) -> None:
    """Catches: a switch that turns on another layer, types of another target, weights rounded along the wrong axis."""
    target = TARGETS[name]
    stored = {one.name: onnx.numpy_helper.to_array(one).astype(float) for one in classifier.proto.graph.initializer}
    x = data.inputs["x"].astype(float)

    def scores(first: bool, second: bool) -> Floats:
        w, v = stored["W"], stored["V"]
        inputs, w = (rounded(x, target), rounded_by_column(w, target)) if first else (x, w)
        hidden = np.maximum(inputs @ w + stored["b"], 0)
        clean = np.maximum(x @ stored["W"] + stored["b"], 0)
        assert first or np.allclose(hidden, clean)
        hidden, v = (rounded(hidden, target), rounded_by_column(v, target)) if second else (hidden, v)
        return hidden @ v + stored["c"]

    exact = scores(False, False)
    expected = [((scores(i == 0, i == 1) - exact) ** 2).mean() / exact.var() for i in (0, 1)]
    found = sensitivities(graph, ranges, target, data)
    assert list(found) == layers(graph)
    assert list(found.values()) == pytest.approx(expected, rel=0.02)


def test_the_budget_goes_to_what_costs_most_for_each_mac(graph: ir.Model) -> None:
    """Catches: a budget overspent, spent on cheap layers first, or on a layer that costs nothing."""
    hidden, last = layers(graph)  # 2,048 and 320 MACs
    costs = {hidden: 2e-3, last: 1e-3}
    assert list(costliest(graph, costs, 0.99)) == [last]
    assert list(costliest(graph, costs, 0.1)) == []
    assert list(costliest(graph, {hidden: 2e-3, last: 0.0}, 0.99)) == [hidden]
    assert "1.0e-03 of their variance, for 13.5% of the MACs" in costliest(graph, costs, 0.2)[last]


def test_a_round_leaves_float_what_its_own_samples_say(graph: ir.Model, data: Dataset) -> None:
    """Catches: the budget not reaching the quantizer, and the reason not reaching the log."""
    numbers = (np.arange(32) % 2)[None]
    press = Press(
        graph, data, numbers, prune=None, target=TARGETS["x86"], precision=Precision("static"), float_macs=0.2
    )
    last = layers(graph)[1]
    for pressed in (press.ship(), press.without(0)):
        assert pressed.quantized is not None
        node = next(node for node in pressed.quantized.graph if node.name == last)
        weight = node.inputs[1]
        assert weight is not None
        assert weight.producer() is None
        assert any(entry.subject == last and "of the MACs; stays float" in entry.detail for entry in pressed.log)
