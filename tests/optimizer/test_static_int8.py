from collections import Counter

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import pytest

from foldpress.cost import graph_cost
from foldpress.data import Dataset
from foldpress.errors import PassError, RequestError
from foldpress.graph import initializer, serialize
from foldpress.optimizer.passes import apply
from foldpress.optimizer.static_int8 import StaticInt8, tensors_to_calibrate
from foldpress.optimizer.statistics import Ranges, collect_ranges
from foldpress.optimizer.targets import TARGETS, choose_target
from foldpress.runtime import open_session, predict

pytest_plugins = ["trained"]


@pytest.fixture(scope="session")
def data(digits_graph: ir.Model, digits_data: Dataset) -> Dataset:
    return digits_data.renamed({"x": digits_graph.graph.inputs[0].name or ""})


@pytest.fixture(scope="session")
def ranges(digits_graph: ir.Model, data: Dataset) -> Ranges:
    numbers = np.zeros((1, 200), np.intp)
    return collect_ranges(digits_graph, tensors_to_calibrate(digits_graph), data.select(np.arange(200)), numbers).all()


@pytest.mark.parametrize("name", TARGETS)
def test_every_target_keeps_the_trained_network(
    name: str, digits_graph: ir.Model, data: Dataset, ranges: Ranges
) -> None:
    """Catches: types, zero points or per-channel axes that cost accuracy, on samples that calibration has not seen."""
    result = apply([StaticInt8(ranges, TARGETS[name])], digits_graph)
    unseen = data.select(np.arange(200, len(data)))
    scores = predict(open_session(serialize(result.model)), unseen, 64)[0]
    assert (scores.argmax(1) == unseen.y).mean() > 0.98
    assert len(serialize(result.model)) < 0.35 * len(serialize(digits_graph))
    assert any(entry.action == "done" and "layers" in entry.subject for entry in result.log)


@pytest.mark.parametrize("name", TARGETS)
def test_types_are_those_of_the_target(name: str, digits_graph: ir.Model, ranges: Ranges) -> None:
    """Catches: onnxruntime's default types (S8S8), which are slower than float32 on x86."""
    target = TARGETS[name]
    model = apply([StaticInt8(ranges, target)], digits_graph).model
    activations = [node.inputs[2] for node in model.graph if node.op_type == "QuantizeLinear"]
    kinds = {value.dtype for value in activations if value is not None}
    assert kinds == {ir.DataType.INT8 if target.signed_activations else ir.DataType.UINT8}
    if target.symmetric_activations:
        assert all(not np.any(initializer(model, value)) for value in activations)
    weights = [value for value in model.graph.initializers.values() if value.dtype == ir.DataType.INT8 and len(value.shape or [])> 1]  # fmt: skip
    largest = max(int(np.abs(np.array(initializer(model, value)).astype(int)).max()) for value in weights)
    assert largest <= 64 if target.reduce_range else largest > 64


def test_weights_are_quantized_by_channel(digits_graph: ir.Model, ranges: Ranges) -> None:
    """Catches: one scale for a whole kernel, which costs depthwise networks their accuracy."""
    model = apply([StaticInt8(ranges, TARGETS["x86-vnni"])], digits_graph).model
    for node in model.graph:
        if node.op_type == "Conv":
            dequantize = node.inputs[1].producer() if node.inputs[1] is not None else None
            assert dequantize is not None
            scale, weight = dequantize.inputs[1], dequantize.inputs[0]
            assert scale is not None
            assert weight is not None
            assert scale.shape is not None
            assert weight.shape is not None
            assert list(scale.shape) == [weight.shape[0]]


def test_the_same_ranges_give_the_same_bytes(digits_graph: ir.Model, ranges: Ranges) -> None:
    """Catches: names or an order of nodes that differ from run to run."""
    twice = [serialize(apply([StaticInt8(ranges, TARGETS["x86"])], digits_graph).model) for _ in range(2)]
    assert twice[0] == twice[1]


def test_costs_are_counted_alike_before_and_after(digits_graph: ir.Model, ranges: Ranges) -> None:
    """Catches: scales and zero points counted as parameters, or MACs lost behind Q/DQ."""
    model = apply([StaticInt8(ranges, TARGETS["x86-vnni"])], digits_graph).model
    assert graph_cost(model).macs == graph_cost(digits_graph).macs
    assert graph_cost(model).parameters == graph_cost(digits_graph).parameters
    assert Counter(layer.precision for layer in graph_cost(model).layers) == {"int8": len(graph_cost(model).layers)}


def test_a_quantized_graph_is_not_quantized_again(digits_graph: ir.Model, ranges: Ranges) -> None:
    """Catches: Q/DQ around Q/DQ."""
    once = apply([StaticInt8(ranges, TARGETS["x86"])], digits_graph).model
    with pytest.raises(RequestError, match="already"):
        apply([StaticInt8(ranges, TARGETS["x86"])], once)


def test_ranges_of_another_graph_are_refused(digits_graph: ir.Model) -> None:
    """Catches: stale statistics."""
    stale = Ranges(("other",), np.zeros(1, np.float32), np.ones(1, np.float32))
    with pytest.raises(PassError, match="belong to another graph"):
        apply([StaticInt8(stale, TARGETS["x86"])], digits_graph)


def test_auto_follows_provider_and_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches: types chosen without looking at the machine."""
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr("foldpress.optimizer.targets.processor", lambda: {"flags": ["avx2"]})
    assert choose_target("auto").name == "x86"
    monkeypatch.setattr("foldpress.optimizer.targets.processor", lambda: {"flags": ["avx2", "avx512_vnni"]})
    assert choose_target("auto").name == "x86-vnni"
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    assert choose_target("auto").name == "arm"
    assert choose_target("auto", "TensorrtExecutionProvider").name == "tensorrt"
    with pytest.raises(RequestError, match="there is no target 'vnni'"):
        choose_target("vnni")


def test_integers_pass_selection_and_scaling_but_not_gates_nor_tables() -> None:
    """Catches: attention's chain broken by floats; a gate or an embedding table rounded."""
    text = """<ir_version: 9, opset_import: ["" : 18]>
        net (float[N, 4, 6] x, int64[N] word) => (float[N, 6] y)
        <int64 first = {0}, float half = {0.5}> {
            [layer] a = MatMul (x, w)  [pick] b = Gather <axis = 1> (a, first)  [scale] c = Mul (b, half)
            [gate] d = Mul (c, c)  [embed] e = Gather (table, word)  [sum] f = Add (d, e)  [last] y = MatMul (f, w2)
        }"""
    proto = onnx.parser.parse_model(text)
    random = np.random.default_rng(0)
    stored = {name: random.normal(size=shape).astype(np.float32) for name, shape in (("w", (6, 6)), ("w2", (6, 6)), ("table", (9, 6)))}  # fmt: skip
    proto.graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in stored.items())
    model: ir.Model = ir.from_proto(onnx.shape_inference.infer_shapes(proto))
    names = tensors_to_calibrate(model)
    assert names == ["a", "b", "c", "d", "e", "f", "x", "y"]
    found = Ranges(tuple(names), np.full(len(names), -1, np.float32), np.ones(len(names), np.float32))
    result = apply([StaticInt8(found, TARGETS["x86-vnni"])], model)
    nodes = {str(node.name): node for node in result.model.graph}
    for name in ("pick", "scale"):
        assert all(value is not None and value.producer().op_type == "DequantizeLinear"  # type: ignore[union-attr]
                   for value in nodes[name].inputs[:1])  # fmt: skip
    assert result.model.graph.initializers["table"].dtype == ir.DataType.FLOAT
    assert {entry.subject for entry in result.log if "no integer kernel" in entry.detail} == {"1 Gather", "1 Mul"}
