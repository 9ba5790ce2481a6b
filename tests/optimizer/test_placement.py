import numpy as np
import onnx.parser
import onnx_ir as ir
import pytest

from foldpress.data import Dataset
from foldpress.errors import RequestError
from foldpress.graph import serialize
from foldpress.optimizer.passes import apply
from foldpress.optimizer.placement import nodes_left_float
from foldpress.optimizer.static_int8 import StaticInt8, tensors_to_calibrate
from foldpress.optimizer.statistics import collect_ranges
from foldpress.optimizer.targets import TARGETS
from foldpress.runtime import open_session, predict

pytest_plugins = ["trained"]

VNNI = TARGETS["x86-vnni"]


@pytest.fixture
def graph() -> ir.Model:
    """Four convolutions: over three channels, over five, one for each channel, and pointwise."""
    text = """<ir_version: 9, opset_import: ["" : 18]>
        net (float[N, 3, 8, 8] x) => (float[N, 4, 8, 8] y) {
            [colors] p = Conv (x, a)
            [wide] q = Conv (p, b)
            [depthwise] r = Conv <group = 5> (q, c)
            [pointwise] s = Conv (r, d)
            [positive] y = Relu (s)
        }"""
    proto = onnx.parser.parse_model(text)
    generator = np.random.default_rng(0)
    for name, channels in {"a": (5, 3), "b": (5, 5), "c": (5, 1), "d": (4, 5)}.items():
        weight = generator.standard_normal((*channels, 1, 1)).astype(np.float32)
        proto.graph.initializer.append(onnx.numpy_helper.from_array(weight, name))
    graph: ir.Model = ir.from_proto(proto)
    return graph


def test_a_convolution_over_few_channels_stays_float_on_x86(graph: ir.Model) -> None:
    """Catches: depthwise convolutions taken for shallow ones, and the rule applied where it was not measured."""
    left = nodes_left_float(graph, VNNI)
    assert list(left) == ["colors"]
    assert "3 input channels" in left["colors"]
    assert nodes_left_float(graph, TARGETS["tensorrt"]) == {}


def test_nodes_can_be_asked_for_by_name_and_by_operator(graph: ir.Model) -> None:
    assert nodes_left_float(graph, TARGETS["arm"], ["wide", "Relu"]).keys() == {"wide", "positive"}


def test_an_unknown_name_is_refused_with_what_is_near(graph: ir.Model) -> None:
    with pytest.raises(RequestError, match=r"keep_float names 'pointwse'[\s\S]*pointwise"):
        nodes_left_float(graph, VNNI, ["pointwse"])


def test_what_is_left_float_computes_in_float(digits_graph: ir.Model, digits_data: Dataset) -> None:
    """Catches: a node that is announced as float but fed by integers, and a reason that the log does not give."""
    data = digits_data.renamed({"x": digits_graph.graph.inputs[0].name or ""}).select(np.arange(64))
    numbers = np.zeros((1, len(data)), np.intp)
    ranges = collect_ranges(digits_graph, tensors_to_calibrate(digits_graph), data, numbers).all()
    first = next(node for node in digits_graph.graph if node.op_type == "Conv")
    result = apply([StaticInt8(ranges, VNNI, nodes_left_float(digits_graph, VNNI))], digits_graph)
    kept = next(node for node in result.model.graph if node.name == first.name)
    assert all(value is None or value.producer() is None for value in kept.inputs)
    assert any(entry.subject == first.name and "1 input channel" in entry.detail for entry in result.log)
    scores = predict(open_session(serialize(result.model)), data, 64)[0]
    assert (scores.argmax(1) == data.y).mean() > 0.95
