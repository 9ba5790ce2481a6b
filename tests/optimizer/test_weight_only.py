from typing import Any, Literal

import numpy as np
import onnx.parser
import onnx_ir as ir
import pytest
from onnx import numpy_helper

from conftest import Classifier
from foldpress.cost import graph_cost
from foldpress.data import Dataset
from foldpress.errors import RequestError
from foldpress.graph import load_graph, serialize
from foldpress.optimizer.cleanup import clean_up
from foldpress.optimizer.passes import apply
from foldpress.optimizer.targets import TARGETS
from foldpress.optimizer.weight_only import WeightOnly
from foldpress.runtime import open_session, predict

X86 = TARGETS["x86-vnni"]
HEAD = '<ir_version: 9, opset_import: ["" : 18]> g (float[N, 40] x) => (float[N, 32] y)'


def graph(body: str, **shapes: tuple[int, ...]) -> ir.Model:
    """A graph from text whose weights are drawn at random."""
    proto = onnx.parser.parse_model(f"{HEAD} {{ {body} }}")
    for name, shape in shapes.items():
        array = np.random.default_rng(len(name)).standard_normal(shape).astype(np.float32)
        proto.graph.initializer.append(numpy_helper.from_array(array, name))
    model: ir.Model = apply(clean_up(), ir.from_proto(proto)).model
    return model


def outputs(model: ir.Model) -> Any:
    x = np.random.default_rng(7).standard_normal((9, 40)).astype(np.float32)
    return open_session(serialize(model)).run(None, {"x": x})[0]


# 40 is no multiple of any block, and N differs from K.
FORMS: dict[str, tuple[str, dict[str, tuple[int, ...]]]] = {
    "MatMul": ("y = MatMul(x, W)", {"W": (40, 32)}),
    "Gemm": ("y = Gemm(x, W, b)", {"W": (40, 32), "b": (32,)}),
    "Gemm, transposed": ("y = Gemm<transB = 1>(x, W, b)", {"W": (32, 40), "b": (32,)}),
    "Gemm, scaled": ("y = Gemm<transB = 1, alpha = 2.0, beta = 0.5>(x, W, b)", {"W": (32, 40), "b": (1, 32)}),
    "Gemm without bias": ("y = Gemm(x, W)", {"W": (40, 32)}),
}


@pytest.mark.parametrize("form", list(FORMS))
@pytest.mark.parametrize(("bits", "error"), [(8, 2e-4), (4, 1.2e-2)])
def test_it_computes_nearly_the_same(form: str, bits: Literal[4, 8], error: float) -> None:
    """Catches a weight that is not transposed, a lost bias, alpha or beta. The error is that of rounding to so few bits."""
    body, shapes = FORMS[form]
    model = graph(body, **shapes)
    result = apply([WeightOnly(bits, X86)], model)
    assert "MatMulNBits" in {node.op_type for node in result.model.graph}
    before, after = outputs(model), outputs(result.model)
    assert 0 < ((after - before) ** 2).sum() / (before**2).sum() < error


@pytest.mark.parametrize("bits", [8, 4])
def test_it_costs_what_the_float_graph_costs(bits: Literal[4, 8]) -> None:
    """Catches MACs lost behind an operator that ONNX does not know, and packed bytes counted as parameters."""
    model = graph("h = Gemm(x, W, b) p = Relu(h) y = MatMul(p, V)", W=(40, 64), b=(64,), V=(64, 32))
    model.graph.initializers["W"].const_value = ir.tensor(np.eye(40, 64, dtype=np.float32))
    before, after = graph_cost(model), graph_cost(apply([WeightOnly(bits, X86)], model).model)
    assert (after.macs, after.parameters) == (before.macs, before.parameters)
    layer = after.layers[0]
    assert (layer.weight_shape, layer.precision) == ((40, 64), f"int{bits}")
    assert layer.sparsity == before.layers[0].sparsity
    assert after.layers[1].bytes <= before.layers[1].bytes * bits / 32


def test_what_stays_float_is_told_with_the_reason() -> None:
    """Catches a layer that is skipped in silence."""
    body = "h = MatMul(x, W) s = MatMul(h, V) t = Transpose(s) u = MatMul(s, t) v = MatMul(u, s) y = MatMul(v, U)"
    result = apply([WeightOnly(8, X86)], graph(body, W=(40, 40), V=(40, 4), U=(4, 32)))
    told = [(entry.action, entry.detail) for entry in result.log]
    assert [action for action, _ in told] == ["done", "declined", "declined", "declined", "declined"]
    assert told[1][1] == "160 weights are too few to gain by it; stays float"
    assert told[2][1] == "its second operand is computed; stays float"


def test_blocks_store_little_padding() -> None:
    """Catches a block so long that what it is filled up with outweighs the scales that it saves."""
    model = graph("h = Concat<axis = 1>(x, x, x, x) y = MatMul(h, W)", W=(160, 32))
    made = apply([WeightOnly(8, X86)], model).model
    sizes = {size: -(-160 // size) * (size + 4) * 32 for size in (16, 32, 64, 128)}
    stored = made.graph.initializers
    assert sum(value.const_value.nbytes for value in stored.values() if value.const_value) == min(sizes.values())


def test_a_trained_classifier_keeps_its_answers(classifier: Classifier) -> None:
    """Catches weights that end up in the wrong columns."""
    model = load_graph(classifier.net)
    result = apply([*clean_up(), WeightOnly(8, X86)], model)
    data = Dataset({"x": classifier.held_out["x"]})
    before, after = (predict(open_session(serialize(one)), data, 64)[0].argmax(1) for one in (model, result.model))
    assert (before != after).mean() < 0.01


def test_what_cannot_be_is_refused() -> None:
    """Catches a copy of the float graph passed off as int8, integers of integers, and a target without the operator."""
    with pytest.raises(RequestError, match="finds nothing to quantize"):
        apply([WeightOnly(4, X86)], graph("y = MatMul(x, W)", W=(40, 2)))
    once = apply([WeightOnly(4, X86)], graph("y = MatMul(x, W)", W=(40, 32))).model
    with pytest.raises(RequestError, match="already quantized"):
        apply([WeightOnly(8, X86)], once)
    with pytest.raises(RequestError, match="target tensorrt has no kernel for MatMulNBits"):
        apply([WeightOnly(8, TARGETS["tensorrt"])], graph("y = MatMul(x, W)", W=(40, 32)))
