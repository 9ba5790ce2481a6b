from typing import Any

import numpy as np
import onnx.parser
import onnx_ir as ir
import pytest
from onnx import numpy_helper

from conftest import Classifier
from foldpress.data import Dataset
from foldpress.errors import RequestError
from foldpress.graph import load_graph, serialize
from foldpress.optimizer.cleanup import clean_up
from foldpress.optimizer.float16 import Float16, magnitudes, tensors_to_watch
from foldpress.optimizer.passes import apply
from foldpress.optimizer.statistics import collect_ranges
from foldpress.optimizer.targets import TARGETS
from foldpress.optimizer.weight_only import WeightOnly
from foldpress.runtime import open_session, predict

HEAD = '<ir_version: 9, opset_import: ["" : 18]> g (float[N, 3, 4, 4] x) => (float[N, {outputs}] y)'


def graph(body: str, *, outputs: str = "3, 4, 4", **stored: Any) -> ir.Model:
    proto = onnx.parser.parse_model(f"{HEAD.format(outputs=outputs)} {{ {body} }}")
    for name, array in stored.items():
        proto.graph.initializer.append(numpy_helper.from_array(np.asarray(array, np.float32), name))
    model: ir.Model = apply(clean_up(), ir.from_proto(proto)).model
    return model


def convert(model: ir.Model, x: Any) -> tuple[ir.Model, list[str], Any, Any]:
    """The converted graph, what stayed float32, and the outputs before and after."""
    data = Dataset({"x": x})
    found = collect_ranges(model, tensors_to_watch(model), data, np.zeros((1, len(x)), np.intp))
    result = apply([Float16(magnitudes(found))], model)
    before, after = (open_session(serialize(one)).run(None, {"x": x})[0] for one in (model, result.model))
    return result.model, [entry.detail for entry in result.log[2:]], before, after


X = np.random.default_rng(0).standard_normal((5, 3, 4, 4)).astype(np.float32)
W = np.random.default_rng(1).standard_normal((6, 3, 3, 3))


def test_weights_are_halved_and_the_interface_stays() -> None:
    """Catches a graph that asks its caller for float16, or whose bytes are not half."""
    model = graph("c = Conv<pads = [1, 1, 1, 1]>(x, W) y = Relu(c)", outputs="6, 4, 4", W=W)
    made, kept, before, after = convert(model, X)
    assert kept == []
    assert [value.dtype for value in (*made.graph.inputs, *made.graph.outputs)] == [ir.DataType.FLOAT] * 2
    assert [value.name for value in made.graph.outputs] == ["y"]
    assert made.graph.initializers["W"].dtype == ir.DataType.FLOAT16
    assert 0 < np.abs(after - before).max() < 2e-3 * np.abs(before).max()
    assert {value.dtype for node in model.graph for value in node.outputs} == {ir.DataType.FLOAT}  # the caller's own


def test_what_overflows_stays_float32() -> None:
    """Catches an activation or a weight beyond 65,504 that becomes infinity, and one that is clipped in silence."""
    body = "a = Mul(x, big) b = Mul(a, a) c = Mul(b, small) y = Relu(c)"
    made, kept, before, after = convert(graph(body, big=[1e3], small=[1e-6]), X)
    assert any("on calibration samples it comes within 2 times of 65,504" in why for why in kept)
    np.testing.assert_allclose(after, before, rtol=2e-3, atol=1e-6)
    assert {"Cast"} < {node.op_type for node in made.graph}
    made, kept, before, after = convert(graph("a = Min(x, huge) y = Relu(a)", huge=[1e38]), X)
    assert kept == ["stored values exceed 65,504; stays float32"]
    np.testing.assert_allclose(after, before, rtol=1e-3)


def test_infinity_is_the_same_in_both() -> None:
    """Catches a mask of −inf that is taken for an overflow of the weights."""
    made, _, before, after = convert(graph("y = Max(x, mask)", mask=[-np.inf]), X)
    assert made.graph.initializers["mask"].dtype == ir.DataType.FLOAT16
    np.testing.assert_allclose(after, before, rtol=1e-3)


def test_a_weight_that_both_types_need_is_there_twice() -> None:
    """Catches a float32 operator that is fed float16."""
    body = "a = Mul(x, s) b = Mul(a, k) c = Mul(b, s) d = Div(c, k) y = Div(d, k)"
    made, kept, before, after = convert(graph(body, s=[3.0], k=[3e4]), X)
    kinds = {value.dtype for name, value in made.graph.initializers.items() if name.startswith(("s", "k"))}
    assert kinds == {ir.DataType.FLOAT, ir.DataType.FLOAT16}
    assert kept
    np.testing.assert_allclose(after, before, rtol=3e-3)


def test_scales_of_resize_stay_float32() -> None:
    """Catches float16 where the operator's definition wants float32."""
    body = 'c = Relu(x) y = Resize<mode = "nearest">(c, , scales)'
    made, _, before, after = convert(graph(body, outputs="3, 8, 8", scales=[1, 1, 2, 2]), X)
    assert made.graph.initializers["scales"].dtype == ir.DataType.FLOAT
    np.testing.assert_allclose(after, before, rtol=1e-3)


def test_an_intermediate_tensor_may_be_an_output_too() -> None:
    """Catches the wrong one of two types at a graph output that others read."""
    text = """<ir_version: 9, opset_import: ["" : 18]> g (float[N, 4] x) => (float[N, 4] a, float[N, 4] y)
    { a = Sigmoid(x) y = Exp(a) }"""
    model = apply(clean_up(), ir.from_proto(onnx.parser.parse_model(text))).model
    made = apply([Float16({})], model).model
    assert [value.name for value in made.graph.outputs] == ["a", "y"]
    x = X.reshape(-1, 4)
    before, after = (open_session(serialize(one)).run(None, {"x": x}) for one in (model, made))
    for one, other in zip(before, after, strict=True):
        np.testing.assert_allclose(other, one, rtol=2e-3)


def test_magnitudes_leave_a_fold_out() -> None:
    """Catches a fold that is judged by a graph which has seen its overflow."""
    x = np.ones((4, 3, 4, 4), np.float32)
    x[3] = -500
    model = graph("y = Relu(x)")
    found = collect_ranges(model, tensors_to_watch(model), Dataset({"x": x}), np.array([[0, 0, 1, 1]]))
    assert (magnitudes(found)["x"], magnitudes(found, 1)["x"], magnitudes(found, 0)["x"]) == (500, 1, 500)


def test_a_trained_classifier_keeps_its_answers(classifier: Classifier) -> None:
    """Catches float16 that costs accuracy, or no bytes."""
    model = apply(clean_up(), load_graph(classifier.net)).model
    made = apply([Float16({})], model).model
    data = Dataset({"x": classifier.held_out["x"]})
    before, after = (predict(open_session(serialize(one)), data, 64)[0].argmax(1) for one in (model, made))
    assert (before != after).mean() < 0.005
    assert len(serialize(made)) < 0.6 * len(serialize(model))


def test_what_cannot_be_is_refused() -> None:
    """Catches a graph of integers converted on, and one without floats that is called converted."""
    integers = '<ir_version: 9, opset_import: ["" : 18]> g (int64[N, 2] x) => (int64[N, 2] y) { y = Abs(x) }'
    with pytest.raises(RequestError, match="finds nothing to convert"):
        apply([Float16({})], ir.from_proto(onnx.parser.parse_model(integers)))
    quantized = apply(
        [WeightOnly(8, TARGETS["x86"])], graph("y = MatMul(x, M)", outputs="3, 4, 300", M=np.ones((4, 300)))
    )
    with pytest.raises(RequestError, match="already quantized"):
        apply([Float16({})], quantized.model)
