"""What a graph costs, against counting by hand; a quantized graph counts as the graph that it stands for."""

from typing import Any

import numpy as np
import onnx.parser
import onnx_ir as ir
import pytest
from onnx import numpy_helper

from foldpress.cost import graph_cost
from foldpress.graph import initializer
from foldpress.optimizer.static_int8 import StaticInt8, tensors_to_calibrate
from foldpress.optimizer.statistics import Ranges
from foldpress.optimizer.targets import TARGETS

HEAD = '<ir_version: 10, opset_import: ["" : 23, "com.microsoft" : 1]> g'


def build(text: str, **weights: tuple[int, ...]) -> ir.Model:
    """A graph from text, with weights of these shapes, none of them zero."""
    model = onnx.parser.parse_model(f"{HEAD} {text}")
    for name, shape in weights.items():
        values = 1 + np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
        model.graph.initializer.append(numpy_helper.from_array(values / values.size, name))
    built: ir.Model = ir.from_proto(model)
    return built


# Graph, weights, MACs of one sample counted by hand, parameters.
COUNTED: dict[str, tuple[str, dict[str, tuple[int, ...]], int, int]] = {
    # 3×3 over 8×8 with padding: every output of 6 × 8 × 8 takes 4 × 3 × 3
    "Conv": ("(float[N, 4, 8, 8] x) => (float[N, 6, 8, 8] y) { y = Conv<pads = [1, 1, 1, 1]>(x, W, b) }",
             {"W": (6, 4, 3, 3), "b": (6,)}, 6 * 8 * 8 * 4 * 9, 6 * 4 * 9 + 6),
    "strided Conv": ("(float[N, 4, 8, 8] x) => (float[N, 6, 3, 3] y) { y = Conv<strides = [2, 2]>(x, W) }",
                     {"W": (6, 4, 3, 3)}, 6 * 3 * 3 * 4 * 9, 6 * 4 * 9),
    "depthwise Conv": ("(float[N, 4, 8, 8] x) => (float[N, 4, 6, 6] y) { y = Conv<group = 4>(x, W) }",
                       {"W": (4, 1, 3, 3)}, 4 * 6 * 6 * 9, 36),
    # every one of 4 × 5 × 5 inputs is spread over 6 × 2 × 2
    "ConvTranspose": ("(float[N, 4, 5, 5] x) => (float[N, 6, 10, 10] y) { y = ConvTranspose<strides = [2, 2]>(x, W) }",
                      {"W": (4, 6, 2, 2)}, 4 * 5 * 5 * 6 * 4, 96),
    "Gemm": ("(float[N, 7] x) => (float[N, 3] y) { y = Gemm<transB = 1>(x, W, b) }", {"W": (3, 7), "b": (3,)}, 21, 24),
    "MatMul": ("(float[N, 5, 7] x) => (float[N, 5, 3] y) { y = MatMul(x, W) }", {"W": (7, 3)}, 5 * 7 * 3, 21),
    "MatMul, weight first": ("(float[N, 7, 5] x) => (float[N, 3, 5] y) { y = MatMul(W, x) }", {"W": (3, 7)}, 3 * 7 * 5, 21),
    "MatMul of two computed": ("(float[N, 5, 7] x) => (float[N, 5, 5] y) { t = Transpose<perm = [0, 2, 1]>(x) y = MatMul(x, t) }",
                               {}, 5 * 5 * 7, 0),
    # 5 steps: queries, keys and values of 7 inputs, then each step's query by all keys, and their values
    "com.microsoft.Attention": ("(float[N, 5, 7] x) => (float[N, 5, 6] y) { y = com.microsoft.Attention<num_heads = 2>(x, W, b) }",
                                {"W": (7, 18), "b": (18,)}, 5 * 7 * 18 + 5 * 5 * (6 + 6), 7 * 18 + 18),
    "com.microsoft.Attention of two widths": (
        """(float[N, 5, 7] x) => (float[N, 5, 8] y) {
            y = com.microsoft.Attention<num_heads = 2, qkv_hidden_sizes = [4, 4, 8]>(x, W, b) }""",
        {"W": (7, 16), "b": (16,)}, 5 * 7 * 16 + 5 * 5 * (4 + 8), 7 * 16 + 16),
    "com.microsoft.MultiHeadAttention": (
        """(float[N, 5, 8] q, float[N, 3, 8] k, float[N, 3, 6] v) => (float[N, 5, 6] y) {
            y = com.microsoft.MultiHeadAttention<num_heads = 2>(q, k, v) }""", {}, 5 * 3 * (8 + 6), 0),
    # four heads of two for the queries, two of two for keys, two of three for values
    "Attention, grouped queries": (
        """(float[N, 5, 8] q, float[N, 3, 4] k, float[N, 3, 6] v) => (float[N, 5, 12] y) {
            y = Attention<q_num_heads = 4, kv_num_heads = 2>(q, k, v) }""", {}, 4 * 5 * 3 * (2 + 3), 0),
    "Attention, heads apart": (
        "(float[N, 4, 5, 2] q, float[N, 2, 3, 2] k, float[N, 2, 3, 3] v) => (float[N, 4, 5, 3] y) { y = Attention(q, k, v) }",
        {}, 4 * 5 * 3 * (2 + 3), 0),
    "Einsum": ('(float[N, 5, 7] x) => (float[N, 5, 3] y) { y = Einsum<equation = "nsk,km->nsm">(x, W) }', {"W": (7, 3)},
               5 * 7 * 3, 21),
    "Einsum without an output": ('(float[N, 5, 7] x) => (float[N, 5, 3] y) { y = Einsum<equation = "...ij,jk">(x, W) }',
                                 {"W": (7, 3)}, 5 * 7 * 3, 21),
    "Einsum of three": ('(float[N, 5, 7] x) => (float[N, 5, 4] y) { y = Einsum<equation = "nsk,km,mo->nso">(x, W, V) }',
                        {"W": (7, 3), "V": (3, 4)}, 5 * 7 * 3 + 5 * 3 * 4, 33),
    "Einsum of one": ('(float[N, 5, 7] x) => (float[N, 7, 5] y) { y = Einsum<equation = "nsk->nks">(x) }', {}, 0, 0),
}  # fmt: skip


@pytest.mark.parametrize("name", list(COUNTED))
def test_macs_and_parameters_are_those_counted_by_hand(name: str) -> None:
    """Catches padding, strides, groups, biases or the batch counted wrongly."""
    text, weights, macs, parameters = COUNTED[name]
    cost = graph_cost(build(text, **weights))
    assert (cost.macs, cost.macs_why, cost.parameters) == (macs, None, parameters)


def test_lstm_multiplies_every_weight_in_every_step() -> None:
    """Catches a recurrent layer counted once. Its own first axis is time."""
    text = """(float[N, 11, 3] s) => (float[11, 1, N, 6] y) {
        x = Transpose<perm = [1, 0, 2]>(s) y = LSTM<hidden_size = 6>(x, W, R) }"""
    cost = graph_cost(build(text, W=(1, 24, 3), R=(1, 24, 6)))
    # eleven steps, each 4 gates × 6 units × (3 inputs + 6 states)
    assert (cost.macs, cost.parameters) == (11 * 24 * 9, 24 * 9)


@pytest.mark.parametrize("name", ["Conv", "strided Conv", "depthwise Conv", "ConvTranspose", "Gemm", "MatMul"])
def test_a_quantized_graph_counts_as_its_float_twin(name: str) -> None:
    """Catches scales, zero points and int32 biases counted as parameters, or Q/DQ hiding a weight's shape."""
    text, weights, macs, parameters = COUNTED[name]
    model = build(text, **weights)
    tensors = tensors_to_calibrate(model)
    ranges = Ranges(tuple(tensors), np.full(len(tensors), -1.0, np.float32), np.full(len(tensors), 1.0, np.float32))
    quantized = StaticInt8(ranges, TARGETS["x86"])(model).model
    cost = graph_cost(quantized)
    assert "DequantizeLinear" in cost.operators
    assert (cost.macs, cost.parameters) == (macs, parameters)
    assert cost.layers[0].weight_shape == weights["W"]


def test_unknown_shapes_are_null_with_a_reason() -> None:
    """Catches MACs of 0 where a shape is only known when it runs."""
    text = "(float[N, 4, H, 8] x) => (float[N, 6, P, 6] y) { y = Conv(x, W) }"
    cost = graph_cost(build(text, W=(6, 4, 3, 3)))
    assert cost.macs is None
    assert cost.macs_why == "the shapes at y are not known before running"
    assert cost.parameters == 6 * 4 * 9


def test_sparsity_and_layers() -> None:
    """Catches zeros counted against another total, and a layer that does not say what it is."""
    model = build("(float[N, 4] x) => (float[N, 5] y) { y = MatMul(x, W) }", W=(4, 5))
    weight = initializer(model, model.graph.initializers["W"])
    assert weight is not None
    weight = weight.copy()
    weight[0] = 0
    model.graph.initializers["W"].const_value = ir.tensor(weight, name="W")
    cost = graph_cost(model)
    layer: Any = cost.layers[0]
    assert (cost.sparsity, layer.sparsity) == (0.25, 0.25)
    assert (layer.operator, layer.weight_shape, layer.bytes, layer.precision) == ("MatMul", (4, 5), 80, "float")
    assert cost.operators == {"MatMul": 1}


def test_a_graph_without_weights_costs_nothing() -> None:
    """Catches a division by no parameters."""
    cost = graph_cost(build("(float[N, 4] x) => (float[N, 4] y) { y = Relu(x) }"))
    assert (cost.parameters, cost.macs, cost.sparsity, cost.layers) == (0, 0, 0.0, ())
