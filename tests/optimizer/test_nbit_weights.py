from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import pytest
from onnx import numpy_helper

from conftest import Classifier
from foldpress.cost import graph_cost
from foldpress.data import Dataset
from foldpress.errors import GraphError, RequestError
from foldpress.graph import load_graph, save_graph, serialize
from foldpress.optimizer.cleanup import clean_up
from foldpress.optimizer.lean import lean
from foldpress.optimizer.nbit_weights import NBitWeights
from foldpress.optimizer.passes import apply
from foldpress.runtime import open_session, predict

BITS = list(range(1, 9))
# Every kind of layer that holds weights, with the axes of its output channels: 0, 1, and the last.
TEXT = """<ir_version: {version}, opset_import: ["" : {opset}]> g (float[N, 3, 6, 6] x) => (float[N, 7] y)
<int64[2] flat = {{0, -1}}> {{
    c = Conv(x, C)
    t = ConvTranspose(c, T)
    f = Reshape(t, flat)
    g = Gemm<transB = 1>(f, G, b)
    y = MatMul(g, M)
}}"""
SHAPES = {"C": (4, 3, 3, 3), "T": (4, 5, 2, 2), "G": (9, 125), "b": (9,), "M": (9, 7)}
CHANNELS = {"C": 0, "T": 1, "G": 0, "M": 1}


def graph(opset: int = 18, version: int = 9) -> ir.Model:
    proto = onnx.parser.parse_model(TEXT.format(opset=opset, version=version))
    rng = np.random.default_rng(0)
    for name, shape in SHAPES.items():
        # Channels of very different size, so that one scale for all, or along another axis, would show.
        size = 10.0 ** np.arange(shape[CHANNELS.get(name, 0)])
        array = np.moveaxis(rng.standard_normal(shape), CHANNELS.get(name, 0), -1) * size / size.max()
        stored = np.ascontiguousarray(np.moveaxis(array, -1, CHANNELS.get(name, 0)), np.float32)
        proto.graph.initializer.append(numpy_helper.from_array(stored, name))
    model: ir.Model = ir.from_proto(proto)
    return model


def rounded_by_hand(weight: Any, axis: int, bits: int) -> Any:
    """One channel after the other, the scale that reaches its largest weight: a bound on the error, not the method."""
    largest = max(2 ** (bits - 1) - 1, 1)
    result = np.empty_like(weight)
    for channel in range(weight.shape[axis]):
        place = (slice(None),) * axis + (channel,)
        w = weight[place]
        scale = np.abs(w).max() / largest
        result[place] = np.where(w < 0, -1, 1) * np.abs(w).mean() if bits == 1 else np.rint(w / scale) * scale
    return result


@pytest.mark.parametrize("bits", BITS)
def test_every_weight_is_rounded_by_channel(bits: int) -> None:
    """Catches a scale along the wrong axis, too many levels, and rounding that is worse than the plainest."""
    model = graph()
    made = apply([NBitWeights(bits)], model).model
    for name, axis in CHANNELS.items():
        integers, scales = numpy_of(made, f"{name}.int"), numpy_of(made, f"{name}.scale")
        assert scales.shape == tuple(size if i == axis else 1 for i, size in enumerate(SHAPES[name]))
        assert len(np.unique(integers.astype(int))) <= max(2, 2**bits - 1)
        weight = numpy_of(model, name)
        found = integers.astype(np.float32) * scales
        bound = ((weight - rounded_by_hand(weight, axis, bits)) ** 2).sum()
        assert ((weight - found) ** 2).sum() <= bound * (1 + 1e-5)


@pytest.mark.parametrize("bits", BITS)
def test_it_runs_as_its_rounded_weights_say(bits: int) -> None:
    """Catches integers that onnxruntime unpacks to something else, or an opset that changes what operators mean."""
    made = apply([NBitWeights(bits)], model := graph()).model
    plain = graph()
    for name in CHANNELS:
        floats = numpy_of(made, f"{name}.int").astype(np.float32) * numpy_of(made, f"{name}.scale")
        plain.graph.initializers[name].const_value = ir.tensor(floats, name=name)
    feed = {"x": np.random.default_rng(1).standard_normal((3, 3, 6, 6)).astype(np.float32)}
    expected, found = (open_session(serialize(one)).run(None, feed)[0] for one in (plain, made))
    np.testing.assert_array_equal(found, expected)
    assert serialize(apply([NBitWeights(bits)], model).model) == serialize(made)


@pytest.mark.parametrize(("bits", "stored"), [(1, 2), (2, 2), (3, 4), (4, 4), (5, 8), (8, 8)])
def test_integers_take_the_smallest_type(bits: int, stored: int) -> None:
    """Catches two bits that take eight, in memory or in the lean file, and parameters that are lost."""
    model = graph()
    written = serialize(apply([NBitWeights(bits), *lean()], model).model)
    cost = graph_cost(ir.from_proto(onnx.ModelProto.FromString(written)))
    assert [layer.precision for layer in cost.layers] == [f"int{stored}"] * 4
    assert (cost.parameters, cost.macs) == (graph_cost(model).parameters, graph_cost(model).macs)
    assert cost.layers[2].bytes == -(-9 * 125 * stored // 8)


def test_the_log_says_bytes_and_error() -> None:
    """Catches a total that is no sum, and a speed that nobody gains."""
    log = apply([NBitWeights(3)], graph()).log
    weights = sum(int(np.prod(SHAPES[name])) for name in CHANNELS)
    scales = sum(SHAPES[name][axis] for name, axis in CHANNELS.items())
    packed = sum(-(-int(np.prod(SHAPES[name])) // 2) for name in CHANNELS)
    assert log[0].subject == "4 weights"
    assert log[0].detail.startswith(f"3 bits: {4 * weights:,} to {packed + 4 * scales:,} bytes, squared error 0.0")
    assert (log[1].subject, log[1].action) == ("speed", "declined")


def test_nothing_is_left_to_do_at_run_time(tmp_path: Path) -> None:
    """Catches weights that are turned back into floats on every run, which makes convolutions slower."""
    save_graph(apply([NBitWeights(4), *lean()], graph()).model, tmp_path / "small.onnx")
    open_session(tmp_path / "small.onnx", write_optimized=tmp_path / "running.onnx")
    kinds = {node.op_type for node in onnx.load(tmp_path / "running.onnx").graph.node}
    assert kinds == {"Conv", "ConvTranspose", "Reshape", "Gemm", "MatMul"}


@pytest.mark.parametrize(("bits", "most_flips"), [(8, 0.01), (4, 0.1)])
def test_a_trained_classifier_keeps_its_answers(classifier: Classifier, bits: int, most_flips: float) -> None:
    """Catches rounding that a network cannot live with."""
    model = load_graph(classifier.net)
    made = apply([*clean_up(), NBitWeights(bits)], model).model
    data = Dataset({"x": classifier.held_out["x"]})
    before, after = (predict(open_session(serialize(one)), data, 64)[0].argmax(1) for one in (model, made))
    assert (before != after).mean() < most_flips


def test_what_cannot_be_is_refused() -> None:
    """Catches rounding twice, and a graph without weights that is called rounded."""
    once = apply([NBitWeights(4)], graph()).model
    with pytest.raises(RequestError, match="already quantized"):
        apply([NBitWeights(2)], once)
    text = '<ir_version: 8, opset_import: ["" : 13]> g (float[N, 2] x) => (float[N, 2] y) { y = Relu(x) }'
    with pytest.raises(RequestError, match="no weights to round"):
        apply([NBitWeights(4)], ir.from_proto(onnx.parser.parse_model(text)))


def test_a_weight_that_is_not_finite_is_named() -> None:
    """Catches NaN rounded to some integer: the graph would run, and be wrong."""
    model = graph()
    broken = numpy_of(model, "G").copy()
    broken[2, 3] = np.inf
    model.graph.initializers["G"].const_value = ir.tensor(broken, name="G")
    with pytest.raises(GraphError, match="weight G holds infinity"):
        apply([NBitWeights(8)], model)


def numpy_of(model: ir.Model, name: str) -> Any:
    tensor = model.graph.initializers[name].const_value
    assert tensor is not None
    return tensor.numpy()
