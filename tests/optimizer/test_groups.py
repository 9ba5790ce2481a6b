"""Which channels may go, on ONNX text; and that removing them equals zeroing what their consumers see of them."""

from typing import Any

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import pytest
from onnx import numpy_helper

from foldpress.graph import copy_graph, initializer, serialize, set_initializer
from foldpress.optimizer.groups import find_groups
from foldpress.optimizer.shrink import forget_shapes, shrink, spread
from foldpress.runtime import open_session

RNG = np.random.default_rng(0)


def graph(
    body: str, weights: dict[str, tuple[int, ...]], x: str = "float[N, 3, 6, 6]", y: str = "float[N, 5, M, K]"
) -> ir.Model:
    proto = onnx.parser.parse_model(f'<ir_version: 9, opset_import: ["" : 18]> g ({x} x) => ({y} y) {{ {body} }}')
    for name, shape in weights.items():
        if name.startswith(("axes", "shape")):
            array: Any = np.array(shape, np.int64)
        else:
            array = RNG.standard_normal(shape).astype(np.float32)
        if name == "var":  # a variance
            array = np.abs(array) + np.float32(0.1)
        proto.graph.initializer.append(numpy_helper.from_array(array, name))
    for node in proto.graph.node:
        node.name = node.output[0]
    model: ir.Model = ir.from_proto(onnx.shape_inference.infer_shapes(proto, data_prop=True))
    return model


CASES: dict[str, tuple[ir.Model, str]] = {
    "convolutions with bias and activation": (
        graph(
            "a = Conv<pads=[1,1,1,1]>(x, w, b)  r = Relu(a)  y = Conv(r, v)",
            {"w": (8, 3, 3, 3), "b": (8,), "v": (5, 8, 3, 3)},
        ),
        "a",
    ),
    "batch normalization and pooling": (
        graph(
            "a = Conv(x, w)  n = BatchNormalization(a, s, o, m, var)  p = MaxPool<kernel_shape=[2,2]>(n)  y = Conv(p, v)",
            {"w": (8, 3, 3, 3), "s": (8,), "o": (8,), "m": (8,), "var": (8,), "v": (5, 8, 1, 1)},
        ),
        "a",
    ),
    "depthwise pair": (
        graph(
            "a = Conv(x, w)  r = Relu(a)  d = Conv<group=8, pads=[1,1,1,1]>(r, k, e)  y = Conv(d, v)",
            {"w": (8, 3, 1, 1), "k": (8, 1, 3, 3), "e": (8,), "v": (5, 8, 1, 1)},
        ),
        "a",
    ),
    "swish, whose product meets itself": (
        graph("a = Conv(x, w)  s = Sigmoid(a)  m = Mul(a, s)  y = Conv(m, v)", {"w": (8, 3, 1, 1), "v": (5, 8, 1, 1)}),
        "a",
    ),
    "flatten into a matrix": (
        graph(
            "a = Conv(x, w)  f = Flatten(a)  y = Gemm<transB=1>(f, v, c)",
            {"w": (8, 3, 3, 3), "v": (5, 8 * 16), "c": (5,)},
            y="float[N, 5]",
        ),
        "a",
    ),
    "reshape with a stored size": (
        graph(
            "a = Conv(x, w)  f = Reshape(a, shape)  y = Gemm(f, v)",
            {"w": (8, 3, 3, 3), "shape": (-1, 128), "v": (128, 5)},
            y="float[N, 5]",
        ),
        "a",
    ),
    "mean over the image": (
        graph(
            "a = Conv(x, w)  p = ReduceMean<keepdims=0>(a, axes)  y = MatMul(p, v)",
            {"w": (8, 3, 3, 3), "axes": (2, 3), "v": (8, 5)},
            y="float[N, 5]",
        ),
        "a",
    ),
    "matrix with a bias added after it": (
        graph(
            "a = MatMul(x, w)  b2 = Add(a, b)  g = Relu(b2)  y = MatMul(g, v)",
            {"w": (6, 8), "b": (8,), "v": (8, 5)},
            x="float[N, 4, 6]",
            y="float[N, 4, 5]",
        ),
        "a",
    ),
    "two consumers": (
        graph(
            "a = Conv(x, w)  c1 = Conv(a, v)  c2 = Conv(a, u)  y = Add(c1, c2)",
            {"w": (8, 3, 3, 3), "v": (5, 8, 1, 1), "u": (5, 8, 1, 1)},
        ),
        "a",
    ),
    "scale for each channel": (
        graph(
            "a = Conv(x, w)  m = Mul(a, s)  y = Conv(m, v)", {"w": (8, 3, 1, 1), "s": (1, 8, 1, 1), "v": (5, 8, 1, 1)}
        ),
        "a",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_removing_channels_equals_zeroing_them(case: str) -> None:
    """Catches: a slot forgotten or cut along the wrong axis; shapes or group counts left as they were."""
    model, name = CASES[case]
    group = next(group for group in find_groups(model)[0] if group.name == name)
    keep = np.array([0, 2, 3, 7])
    masked, cut = copy_graph(model), copy_graph(model)
    for slot in next(g for g in find_groups(masked)[0] if g.name == name).consumers:
        weight = np.array(initializer(masked, slot.value))
        gone = spread(np.setdiff1d(np.arange(group.channels), keep), slot)
        np.moveaxis(weight, slot.axis, 0)[gone] = 0
        set_initializer(masked, str(slot.value.name), weight)
    shrink(cut, next(g for g in find_groups(cut)[0] if g.name == name), keep)
    forget_shapes(cut)
    onnx.checker.check_model(ir.to_proto(cut), full_check=True)
    shape = [3, *(size for size in model.graph.inputs[0].shape or [] if isinstance(size, int))]
    feed = {"x": RNG.standard_normal(shape).astype(np.float32)}
    outputs: list[Any] = [open_session(serialize(one)).run(None, feed)[0] for one in (masked, cut)]
    np.testing.assert_allclose(outputs[0], outputs[1], rtol=1e-4, atol=1e-5)
    assert len(serialize(cut)) < len(serialize(model))


@pytest.mark.parametrize(
    ("body", "weights", "layer", "reason"),
    [
        ("a = Conv(x, w)  y = Relu(a)", {"w": (5, 3, 3, 3)}, "a", "an output of the graph"),
        ("a = Conv<pads=[1,1,1,1]>(x, w)  s = Add(a, x)  y = Conv(s, v)", {"w": (3, 3, 3, 3), "v": (5, 3, 1, 1)}, "a", "another branch"),
        ("a = Conv(x, w)  n = Softmax<axis=1>(a)  y = Conv(n, v)", {"w": (8, 3, 3, 3), "v": (5, 8, 1, 1)}, "a", "Softmax n needs all its channels"),
        ("a = Conv(x, w)  b = Conv(x, w)  s = Concat<axis=1>(a, b)  y = Conv(s, v)", {"w": (4, 3, 3, 3), "v": (5, 8, 1, 1)}, "a", "shared by several nodes"),
        ("a = Conv(x, w)  g = Conv<group=2>(a, u)  y = Conv(g, v)", {"w": (8, 3, 3, 3), "u": (8, 4, 1, 1), "v": (5, 8, 1, 1)}, "a", "grouped convolution"),
        ("a = Conv(x, w)  p = ReduceMean<keepdims=1>(a, axes)  y = Conv(p, v)", {"w": (8, 3, 3, 3), "axes": (1,), "v": (5, 1, 1, 1)}, "a", "sums over them"),
    ],
)  # fmt: skip
def test_what_cannot_be_followed_is_left_alone_and_says_why(
    body: str, weights: dict[str, tuple[int, ...]], layer: str, reason: str
) -> None:
    """Catches: cutting channels that something else depends on; a bare refusal."""
    groups, declined = find_groups(graph(body, weights))
    assert layer not in {group.name for group in groups}
    assert reason in dict(declined)[layer]
