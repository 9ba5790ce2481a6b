"""Graphs of every shape that channels flow through, as ONNX text with random weights."""

from typing import Any, NamedTuple

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
from onnx import numpy_helper

from foldpress.graph import serialize
from foldpress.runtime import open_session

RNG = np.random.default_rng(0)
Weights = dict[str, tuple[int, ...] | int]
IMAGE, ROWS = "float[N, 3, 6, 6]", "float[N, 4, 6]"
MAP, SCORES, TOKENS = "float[N, 5, P, Q]", "float[N, 5]", "float[N, T, 5]"


class Topology(NamedTuple):
    """A graph, its input and output, and for the groups expected: what makes them, and how many channels they have."""

    body: str
    weights: Weights
    x: str
    y: str
    groups: dict[str, int]
    opset: int = 18


def build(topology: Topology) -> ir.Model:
    """Names that start with axes, shape, index or scales hold the numbers given; var is positive, zero is zero."""
    return graph(topology.body, topology.weights, topology.x, topology.y, topology.opset)


def graph(body: str, weights: Weights, x: str = IMAGE, y: str = MAP, opset: int = 18) -> ir.Model:
    """A graph whose nodes are named after their first outputs."""
    text = f'<ir_version: 9, opset_import: ["" : {opset}, "com.microsoft" : 1]> g ({x} x) => ({y} y) {{ {body} }}'
    proto = onnx.parser.parse_model(text)
    proto.graph.initializer.extend(
        numpy_helper.from_array(_stored(name, shape), name) for name, shape in weights.items()
    )
    for node in proto.graph.node:
        node.name = next(name for name in node.output if name)
    model: ir.Model = ir.from_proto(onnx.shape_inference.infer_shapes(proto, data_prop=True))
    return model


def _stored(name: str, shape: tuple[int, ...] | int) -> Any:
    if name == "scales":
        return np.array(shape, np.float32)
    if name.startswith(("axes", "shape", "index")):
        return np.array(shape, np.int64)
    array = RNG.standard_normal(shape).astype(np.float32) * np.float32(0.5)
    return np.abs(array) + np.float32(0.1) if name.startswith("var") else array * (not name.startswith("zero"))


def samples(model: ir.Model, count: int = 3) -> dict[str, np.ndarray]:
    """Random inputs."""
    return {
        str(value.name): RNG.standard_normal([count, *(s for s in value.shape or [] if isinstance(s, int))]).astype(
            np.float32
        )
        for value in model.graph.inputs
    }


def outputs(model: ir.Model, feed: dict[str, np.ndarray]) -> list[Any]:
    """What onnxruntime makes of it."""
    return list(open_session(serialize(model)).run(None, feed))


HEADS = """q = MatMul(x, wq)  qh = Reshape(q, shape)  qt = Transpose<perm=[0,2,1,3]>(qh)
    k = MatMul(x, wk)  kh = Reshape(k, shape)  kt = Transpose<perm=[0,2,3,1]>(kh)
    v = MatMul(x, wv)  vh = Reshape(v, shape)  vt = Transpose<perm=[0,2,1,3]>(vh)
    s = MatMul(qt, kt)  p = Softmax<axis=-1>(s)  o = MatMul(p, vt)
    ot = Transpose<perm=[0,2,1,3]>(o)  f = Reshape(ot, shape2)  y = MatMul(f, u)"""
PACKED = """a = MatMul(x, w)  ab = Add(a, b)  r = Reshape(ab, shape)  t = Transpose<perm=[2,0,3,1,4]>(r)
    q = Gather<axis=0>(t, index0)  k = Gather<axis=0>(t, index1)  v = Gather<axis=0>(t, index2)
    kt = Transpose<perm=[0,1,3,2]>(k)  s = MatMul(q, kt)  p = Softmax<axis=-1>(s)  o = MatMul(p, v)
    ot = Transpose<perm=[0,2,1,3]>(o)  f = Reshape(ot, shape2)  y = MatMul(f, u)"""

TOPOLOGIES = {
    "convolutions with bias and activation": Topology(
        "a = Conv<pads=[1,1,1,1]>(x, w, b)  r = Relu(a)  y = Conv(r, v)",
        {"w": (8, 3, 3, 3), "b": (8,), "v": (5, 8, 3, 3)}, IMAGE, MAP, {"a": 8}),
    "batch normalization and pooling": Topology(
        "a = Conv(x, w)  n = BatchNormalization(a, s, o, m, var)  p = MaxPool<kernel_shape=[2,2]>(n)  y = Conv(p, v)",
        {"w": (8, 3, 3, 3), "s": (8,), "o": (8,), "m": (8,), "var": (8,), "v": (5, 8, 1, 1)}, IMAGE, MAP, {"a": 8}),
    "depthwise pair": Topology(
        "a = Conv(x, w)  r = Relu(a)  d = Conv<group=8, pads=[1,1,1,1]>(r, k, e)  y = Conv(d, v)",
        {"w": (8, 3, 1, 1), "k": (8, 1, 3, 3), "e": (8,), "v": (5, 8, 1, 1)}, IMAGE, MAP, {"a": 8}),
    "depthwise with two outputs a channel": Topology(
        "a = Conv(x, w)  d = Conv<group=6>(a, k)  y = Conv(d, v)",
        {"w": (6, 3, 1, 1), "k": (12, 1, 3, 3), "v": (5, 12, 1, 1)}, IMAGE, MAP, {"a": 6}),
    "grouped convolution": Topology(
        "a = Conv(x, w)  r = Relu(a)  d = Conv<group=4>(r, k, e)  y = Conv(d, v)",
        {"w": (8, 3, 1, 1), "k": (12, 2, 3, 3), "e": (12,), "v": (5, 12, 1, 1)}, IMAGE, MAP, {"a": 4}),
    "swish, whose product meets itself": Topology(
        "a = Conv(x, w)  s = Sigmoid(a)  m = Mul(a, s)  y = Conv(m, v)",
        {"w": (8, 3, 1, 1), "v": (5, 8, 1, 1)}, IMAGE, MAP, {"a": 8}),
    "flatten into a matrix": Topology(
        "a = Conv(x, w)  f = Flatten(a)  y = Gemm<transB=1>(f, v, c)",
        {"w": (8, 3, 3, 3), "v": (5, 8 * 16), "c": (5,)}, IMAGE, SCORES, {"a": 8}),
    "reshape with a stored size": Topology(
        "a = Conv(x, w)  f = Reshape(a, shape)  y = Gemm(f, v)",
        {"w": (8, 3, 3, 3), "shape": (-1, 128), "v": (128, 5)}, IMAGE, SCORES, {"a": 8}),
    "reshape with computed sizes": Topology(
        "a = Conv(x, w)  n = Shape<start=0, end=1>(a)  s = Concat<axis=0>(n, shape)  f = Reshape(a, s)  y = Gemm(f, v)",
        {"w": (8, 3, 3, 3), "shape": (128,), "v": (128, 5)}, IMAGE, SCORES, {"a": 8}),
    "mean over the image": Topology(
        "a = Conv(x, w)  p = ReduceMean<keepdims=0>(a, axes)  y = MatMul(p, v)",
        {"w": (8, 3, 3, 3), "axes": (2, 3), "v": (8, 5)}, IMAGE, SCORES, {"a": 8}),
    "matrix with a bias added after it": Topology(
        "a = MatMul(x, w)  b2 = Add(a, b)  g = Relu(b2)  y = MatMul(g, v)",
        {"w": (6, 8), "b": (8,), "v": (8, 5)}, ROWS, TOKENS, {"a": 8}),
    "two consumers": Topology(
        "a = Conv(x, w)  c1 = Conv(a, v)  c2 = Conv(a, u)  y = Add(c1, c2)",
        {"w": (8, 3, 3, 3), "v": (5, 8, 1, 1), "u": (5, 8, 1, 1)}, IMAGE, MAP, {"a": 8}),
    "scale for each channel": Topology(
        "a = Conv(x, w)  m = Mul(a, s)  y = Conv(m, v)",
        {"w": (8, 3, 1, 1), "s": (1, 8, 1, 1), "v": (5, 8, 1, 1)}, IMAGE, MAP, {"a": 8}),
    "slope for each channel": Topology(
        "a = Conv(x, w)  m = PRelu(a, s)  y = Conv(m, v)",
        {"w": (8, 3, 1, 1), "s": (8, 1, 1), "v": (5, 8, 1, 1)}, IMAGE, MAP, {"a": 8}),
    "a bias that two layers share": Topology(
        "a = Conv(x, w, zero)  r = Relu(a)  c = Conv(r, v, zero)  y = Conv(c, u)",
        {"w": (8, 3, 1, 1), "zero": (8,), "v": (8, 8, 1, 1), "u": (5, 8, 1, 1)}, IMAGE, MAP, {"a": 8, "c": 8}),
    "weights that two layers share": Topology(
        "a = Conv(x, w)  c = Conv(x, w)  r = Relu(c)  s = Concat<axis=1>(a, r)  y = Conv(s, v)",
        {"w": (4, 3, 1, 1), "v": (5, 8, 1, 1)}, IMAGE, MAP, {"a": 4}),
    "residual sum": Topology(
        "a = Conv(x, w)  r = Relu(a)  i = Conv(r, v)  j = Relu(i)  o = Conv(j, u)  s = Add(r, o)  y = Conv(s, t)",
        {"w": (8, 3, 1, 1), "v": (6, 8, 1, 1), "u": (8, 6, 1, 1), "t": (5, 8, 1, 1)}, IMAGE, MAP, {"a": 8, "i": 6}),
    "residual stream that pads its channels": Topology(
        """a = Conv<pads=[1,1,1,1]>(x, w)  h = Slice(a, index0, index6, axes, index2)  p = Pad(h, index_pads)
        i = Conv<pads=[1,1,1,1], strides=[2,2]>(a, v)  s = Add(i, p)  r = Relu(s)  y = Conv(r, t)""",
        {"w": (4, 3, 3, 3), "v": (8, 4, 3, 3), "t": (5, 8, 1, 1), "index_pads": (0, 2, 0, 0, 0, 2, 0, 0),
         "index0": (0, 0), "index6": (6, 6), "axes": (2, 3), "index2": (2, 2)}, IMAGE, MAP, {"a": 4, "i": 4}),
    "concatenated branches": Topology(
        "a = Conv(x, w)  b = Conv(x, v)  r = Relu(b)  s = Concat<axis=1>(a, r, x)  y = Conv(s, u)",
        {"w": (4, 3, 1, 1), "v": (6, 3, 1, 1), "u": (5, 13, 1, 1)}, IMAGE, MAP, {"a": 4, "b": 6}),
    "dense connections": Topology(
        """a = Conv(x, w)  b = Conv(a, v)  s = Concat<axis=1>(a, b)  c = Conv(s, u)  t = Concat<axis=1>(s, c)
        y = Conv(t, o)""",
        {"w": (4, 3, 1, 1), "v": (4, 4, 1, 1), "u": (4, 8, 1, 1), "o": (5, 12, 1, 1)}, IMAGE, MAP, {"a": 4, "b": 4, "c": 4}),
    "split into a gate and a value": Topology(
        "a = Conv(x, w, b)  g, v = Split<axis=1>(a, index)  s = Sigmoid(g)  m = Mul(s, v)  y = Conv(m, u)",
        {"w": (8, 3, 1, 1), "b": (8,), "index": (4, 4), "u": (5, 4, 1, 1)}, IMAGE, MAP, {"a": 4}),
    "split into two branches of their own": Topology(
        "a = Conv(x, w)  g, v = Split<axis=1, num_outputs=2>(a)  c = Conv(g, u)  d = Conv(v, t)  y = Add(c, d)",
        {"w": (8, 3, 1, 1), "u": (5, 4, 1, 1), "t": (5, 4, 1, 1)}, IMAGE, MAP, {"a": 4, "a (2)": 4}),
    "a slice of the channels": Topology(
        "a = Conv(x, w)  h = Slice(a, index2, index8, axes)  c = Conv(h, u)  d = Conv(a, t)  y = Add(c, d)",
        {"w": (8, 3, 1, 1), "index2": (2,), "index8": (7,), "axes": (1,), "u": (5, 5, 1, 1), "t": (5, 8, 1, 1)},
        IMAGE, MAP, {"a": 3, "a (2)": 5}),
    "gathered channels": Topology(
        "a = Conv(x, w)  h = Gather<axis=1>(a, index)  s = Relu(h)  y = Conv(s, u)",
        {"w": (6, 3, 1, 1), "index": (5, 3, 1, 0, 2, 4), "u": (5, 6, 1, 1)}, IMAGE, MAP, {"a": 6}),
    "shuffled channels": Topology(
        """a = Conv(x, w)  r = Reshape(a, shape)  t = Transpose<perm=[0,2,1,3,4]>(r)  f = Reshape(t, shape2)
        y = Conv(f, u)""",
        {"w": (8, 3, 1, 1), "shape": (-1, 2, 4, 6, 6), "shape2": (-1, 8, 6, 6), "u": (5, 8, 1, 1)}, IMAGE, MAP, {"a": 2}),
    "transposed convolution": Topology(
        "a = Conv(x, w)  c = ConvTranspose<strides=[2,2]>(a, v, b)  r = Relu(c)  y = Conv(r, u)",
        {"w": (8, 3, 1, 1), "v": (8, 6, 2, 2), "b": (6,), "u": (5, 6, 1, 1)}, IMAGE, MAP, {"a": 8, "c": 6}),
    "transposed convolution in groups": Topology(
        "a = Conv(x, w)  c = ConvTranspose<strides=[2,2], group=4>(a, v, b)  y = Conv(c, u)",
        {"w": (8, 3, 1, 1), "v": (8, 3, 2, 2), "b": (12,), "u": (5, 12, 1, 1)}, IMAGE, MAP, {"a": 4}),
    "squeeze and excitation": Topology(
        """a = Conv(x, w)  p = GlobalAveragePool(a)  i = Conv(p, v, b)  r = Relu(i)  e = Conv(r, u, c)  g = Sigmoid(e)
        m = Mul(a, g)  y = Conv(m, t)""",
        {"w": (8, 3, 1, 1), "v": (4, 8, 1, 1), "b": (4,), "u": (8, 4, 1, 1), "c": (8,), "t": (5, 8, 1, 1)},
        IMAGE, MAP, {"a": 8, "i": 4}),
    "depth to space": Topology(
        "a = Conv(x, w)  d = DepthToSpace<blocksize=2>(a)  y = Conv(d, u)",
        {"w": (16, 3, 1, 1), "u": (5, 4, 1, 1)}, IMAGE, MAP, {"a": 4}),
    "depth to space by columns, and back": Topology(
        """a = Conv(x, w)  d = DepthToSpace<blocksize=2, mode="CRD">(a)  s = SpaceToDepth<blocksize=2>(d)  y = Conv(s, u)""",
        {"w": (16, 3, 1, 1), "u": (5, 16, 1, 1)}, IMAGE, MAP, {"a": 4}),
    "group normalization by instances": Topology(
        """a = Conv(x, w)  r = Reshape(a, shape)  n = InstanceNormalization(r, s, o)  f = Reshape(n, shape2)
        m = Mul(f, g)  y = Conv(m, u)""",
        {"w": (8, 3, 1, 1), "shape": (0, 4, -1), "s": (4,), "o": (4,), "shape2": (-1, 8, 6, 6), "g": (8, 1, 1),
         "u": (5, 8, 1, 1)}, IMAGE, MAP, {"a": 4}),
    "group normalization": Topology(
        "a = Conv(x, w)  n = GroupNormalization<num_groups=4>(a, s, o)  y = Conv(n, u)",
        {"w": (8, 3, 1, 1), "s": (8,), "o": (8,), "u": (5, 8, 1, 1)}, IMAGE, MAP, {"a": 4}, 21),
    "resized": Topology(
        'a = Conv(x, w)  d = Resize<mode="nearest">(a, , scales)  y = Conv(d, u)',
        {"w": (8, 3, 1, 1), "scales": (1, 1, 2, 2), "u": (5, 8, 1, 1)}, IMAGE, MAP, {"a": 8}),
    "layer normalization of what is not cut": Topology(
        "n = LayerNormalization<axis=-1>(x, s, o)  a = MatMul(n, w)  g = Relu(a)  y = MatMul(g, v)",
        {"s": (6,), "o": (6,), "w": (6, 8), "v": (8, 5)}, ROWS, TOKENS, {"a": 8}),
    "heads": Topology(
        HEADS,
        {"wq": (6, 12), "wk": (6, 12), "wv": (6, 12), "shape": (0, 0, 4, 3), "shape2": (0, 0, 12), "u": (12, 5)},
        ROWS, TOKENS, {"q": 4}),
    "heads, packed": Topology(
        PACKED,
        {"w": (6, 36), "b": (36,), "shape": (0, 0, 3, 4, 3), "index0": 0, "index1": 1, "index2": 2,
         "shape2": (0, 0, 12), "u": (12, 5)}, ROWS, TOKENS, {"a": 4}),
    "heads in one operator": Topology(
        "a = com.microsoft.Attention<num_heads=4>(x, w, b)  y = MatMul(a, u)",
        {"w": (6, 36), "b": (36,), "u": (12, 5)}, ROWS, TOKENS, {"a": 4}),
    "heads in one operator, of several widths, with a bias for each": Topology(
        """a = com.microsoft.Attention<num_heads=4, qkv_hidden_sizes=[12,12,20]>(x, w, b, , , c)  y = MatMul(a, u)""",
        {"w": (6, 44), "b": (44,), "c": (1, 4, 4, 4), "u": (20, 5)}, ROWS, TOKENS, {"a": 4}),
    "heads in one operator behind three matrices": Topology(
        """q = MatMul(x, wq)  k = MatMul(x, wk)  v = MatMul(x, wv)
        a = com.microsoft.MultiHeadAttention<num_heads=4>(q, k, v, b)  y = MatMul(a, u)""",
        {"wq": (6, 12), "wk": (6, 12), "wv": (6, 8), "b": (32,), "u": (8, 5)}, ROWS, TOKENS, {"q": 4}),
    "grouped queries": Topology(
        """q = MatMul(x, wq)  k = MatMul(x, wk)  v = MatMul(x, wv)  a = Attention<q_num_heads=8, kv_num_heads=4>(q, k, v, c)
        y = MatMul(a, u)""",
        {"wq": (6, 24), "wk": (6, 12), "wv": (6, 8), "c": (8, 4, 4), "u": (16, 5)}, ROWS, TOKENS, {"q": 4}, 23),
    "grouped queries on an axis of their own": Topology(
        """q = MatMul(x, wq)  qh = Reshape(q, shape)  qt = Transpose<perm=[0,2,1,3]>(qh)
        k = MatMul(x, wk)  kh = Reshape(k, shape2)  kt = Transpose<perm=[0,2,1,3]>(kh)
        v = MatMul(x, wv)  vh = Reshape(v, shape2)  vt = Transpose<perm=[0,2,1,3]>(vh)
        a = Attention(qt, kt, vt)  ot = Transpose<perm=[0,2,1,3]>(a)  f = Reshape(ot, shape3)  y = MatMul(f, u)""",
        {"wq": (6, 18), "wk": (6, 9), "wv": (6, 9), "shape": (0, 0, 6, 3), "shape2": (0, 0, 3, 3), "shape3": (0, 0, 18), "u": (18, 5)},
        ROWS, TOKENS, {"q": 3}, 23),
    "neurons between operators of onnxruntime's own": Topology(
        """a = MatMul(x, w)  g = com.microsoft.BiasGelu(a, b)  p = MatMul(g, v)
        n, , , s = com.microsoft.SkipLayerNormalization(p, x, t, o)  m = Add(n, s)  y = MatMul(m, u)""",
        {"w": (6, 8), "b": (8,), "v": (8, 6), "t": (6,), "o": (6,), "u": (6, 5)}, ROWS, TOKENS, {"a": 8}),
    "products by equation": Topology(
        """a = Einsum<equation="btd,dc->btc">(x, w)  r = Relu(a)  y = Einsum<equation="oc,btc->bto">(u, r)""",
        {"w": (6, 8), "u": (5, 8)}, ROWS, TOKENS, {"a": 8}),
    "heads by equation": Topology(
        """q = Einsum<equation="btd,dhe->bhte">(x, wq)  k = Einsum<equation="btd,dhe->bhte">(x, wk)
        v = Einsum<equation="btd,dhe->bhte">(x, wv)  s = Einsum<equation="bhqe,bhke->bhqk">(q, k)  p = Softmax<axis=-1>(s)
        o = Einsum<equation="bhqk,bhke->bqhe">(p, v)  y = Einsum<equation="bqhe,heo->bqo">(o, u)""",
        {"wq": (6, 4, 3), "wk": (6, 4, 3), "wv": (6, 4, 2), "u": (4, 2, 5)}, ROWS, TOKENS, {"q": 4, "q (2)": 3, "v": 2}),
    "one head": Topology(
        """q = MatMul(x, wq)  k = MatMul(x, wk)  kt = Transpose<perm=[0,2,1]>(k)  s = MatMul(q, kt)
        p = Softmax<axis=-1>(s)  v = MatMul(x, wv)  o = MatMul(p, v)  y = MatMul(o, u)""",
        {"wq": (6, 8), "wk": (6, 8), "wv": (6, 4), "u": (4, 5)}, ROWS, TOKENS, {"q": 8, "v": 4}),
    "mixing of tokens, by a weight on the left": Topology(
        "a = MatMul(w, x)  r = Relu(a)  b = MatMul(v, r)  y = MatMul(b, u)",
        {"w": (8, 4), "v": (4, 8), "u": (6, 5)}, ROWS, TOKENS, {"a": 8}),
    "embedding": Topology(
        "i = Cast<to=7>(x)  e = Gather<axis=0>(w, i)  r = Relu(e)  y = MatMul(r, u)",
        {"w": (10, 8), "u": (8, 5)}, "float[N, 4]", TOKENS, {"e": 8}),
}  # fmt: skip


def recurrent(kind: str, gates: int, directions: int, bias: bool = True) -> Topology:
    """Two layers of hidden units and a matrix."""
    way = 'direction="bidirectional", ' if directions == 2 else ""
    width = directions * 8
    body = f"""t = Transpose<perm=[1,0,2]>(x)  a = {kind}<{way}hidden_size=8>(t, w, r, {"b" if bias else ""})
        p = Transpose<perm=[0,2,1,3]>(a)  f = Reshape(p, shape)  c = {kind}<{way}hidden_size=8>(f, w2, r2, b2)
        q = Transpose<perm=[2,0,1,3]>(c)  g = Reshape(q, shape)  y = MatMul(g, u)"""
    rows = gates * 8
    weights: Weights = {"w": (directions, rows, 6), "r": (directions, rows, 8), "shape": (0, 0, width), "w2": (directions, rows, width),
               "r2": (directions, rows, 8), "b2": (directions, 2 * rows), "u": (width, 5)}  # fmt: skip
    more: Weights = {"b": (directions, 2 * rows)} if bias else {}
    return Topology(body, weights | more, ROWS, TOKENS, {"a": 8, "c": 8})


TOPOLOGIES |= {
    "LSTM": recurrent("LSTM", 4, 1),
    "LSTM in both directions": recurrent("LSTM", 4, 2),
    "GRU": recurrent("GRU", 3, 1, bias=False),
    "GRU in both directions": recurrent("GRU", 3, 2),
    "RNN": recurrent("RNN", 1, 1),
}

# Graphs with a branch that is a constant once the channels of one group are gone: the group's name, and how many nodes are left.
BRANCHES = {
    "convolutions": (Topology(
        """a = Conv(x, w)  i = Conv(a, v)  j = Relu(i)  d = Conv<group=6, pads=[1,1,1,1]>(j, k)  o = Conv<pads=[1,1,1,1]>(d, u, b)
        s = Add(o, a)  y = Conv(s, t)""",
        {"w": (8, 3, 1, 1), "v": (6, 8, 1, 1), "k": (6, 1, 3, 3), "u": (8, 6, 3, 3), "b": (8,), "t": (5, 8, 1, 1)},
        IMAGE, MAP, {"a": 8, "i": 6}), "i", 3),
    "a matrix with a bias behind it": (Topology(
        "i = MatMul(x, w)  r = Relu(i)  o = MatMul(r, v)  p = Add(b, o)  s = Add(x, p)  y = MatMul(s, u)",
        {"w": (6, 8), "v": (8, 6), "b": (6,), "u": (6, 5)}, ROWS, TOKENS, {"i": 8}), "i", 2),
    "a matrix without a bias": (Topology(
        "i = MatMul(x, w)  r = Relu(i)  o = MatMul(r, v)  s = Add(x, o)  y = MatMul(s, u)",
        {"w": (6, 8), "v": (8, 6), "u": (6, 5)}, ROWS, TOKENS, {"i": 8}), "i", 1),
    "heads": (Topology(
        HEADS.replace("y = MatMul(f, u)", """h = MatMul(f, u)  e = Add(h, c)  ht = Transpose<perm=[1,0,2]>(e)
        xt = Transpose<perm=[1,0,2]>(x)  z = Add(ht, xt)  y = MatMul(z, t)"""),
        {"wq": (6, 12), "wk": (6, 12), "wv": (6, 12), "shape": (0, 0, 4, 3), "shape2": (0, 0, 12), "u": (12, 6), "c": (6,),
         "t": (6, 5)}, ROWS, "float[T, N, 5]", {"q": 4}), "q", 3),
}  # fmt: skip
