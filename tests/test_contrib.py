import numpy as np
import onnx.parser
import onnx_ir as ir
import pytest
from onnx import numpy_helper

from foldpress.cost import graph_cost
from foldpress.sample_shapes import sample_shapes

HEAD = '<ir_version: 9, opset_import: ["" : 18, "com.microsoft" : 1]> g'
GRAPHS = {
    "MatMulNBits": "(float[N, 4, 40] x, uint8[6, 3, 8] b, float[18] s) => (float[N, 4, 6] y)"
    "{ h = com.microsoft.MatMulNBits<K = 40, N = 6, bits = 4, block_size = 16>(x, b, s) y = Relu(h) }",
    "SkipLayerNormalization": "(float[N, 4, 6] x, float[N, 4, 6] skip, float[6] g) => (float[N, 4, 6] y)"
    "{ a, , , h = com.microsoft.SkipLayerNormalization(x, skip, g) y = Add(a, h) }",
    "BiasGelu": "(float[N, 4, 6] x, float[6] b) => (float[N, 4, 6] y) { h = com.microsoft.BiasGelu(x, b) y = Relu(h) }",
    "Attention": "(float[N, 4, 5] x, float[18] b) => (float[N, 4, 6] y)"
    "{ h = com.microsoft.Attention<num_heads = 2>(x, w, b) y = Relu(h) }",
    "MultiHeadAttention": "(float[N, 4, 8] q, float[N, 7, 8] k, float[N, 7, 6] v) => (float[N, 4, 6] y)"
    "{ h = com.microsoft.MultiHeadAttention<num_heads = 2>(q, k, v) y = Relu(h) }",
    "FastGelu": "(float[N, 4, 6] x) => (float[N, 4, 6] y) { h = com.microsoft.FastGelu(x) y = Relu(h) }",
}


@pytest.mark.parametrize("operator", list(GRAPHS))
def test_shapes_are_known_behind_it(operator: str) -> None:
    """Catches MACs that are unknown as soon as onnxruntime's own operators stand in a graph."""
    proto = onnx.parser.parse_model(f"{HEAD} {GRAPHS[operator]}")
    proto.graph.initializer.append(numpy_helper.from_array(np.zeros((5, 18), np.float32), "w"))
    model: ir.Model = ir.from_proto(proto)
    shapes = sample_shapes(model)
    assert (shapes["h"], shapes["y"]) == ((1, 4, 6), (1, 4, 6))


def test_a_dynamic_lstm_is_counted() -> None:
    """Catches a quantized recurrent graph whose MACs are not known any more."""
    text = """(float[11, 1, 3] s, int8[1, 3, 24] W, int8[1, 6, 24] R, float[1] a, float[1] c, int8[1] z) => (float[11, 1, 1, 6] y) {
        y = com.microsoft.DynamicQuantizeLSTM<hidden_size = 6>(s, W, R, , , , , , a, z, c, z)
    }"""
    cost = graph_cost(ir.from_proto(onnx.parser.parse_model(f"{HEAD} {text}")))
    assert cost.macs_why is None
    assert cost.macs == 1 * 1 * (3 * 24 + 6 * 24)
