"""Single layers as ONNX text, and least-squares problems with the rows that they stand for."""

import numpy as np
import onnx_ir as ir

from foldpress.optimizer.factorize.form import Shape
from foldpress.optimizer.factorize.problem import Problem, make_problem
from foldpress.optimizer.layers import Layer, weighted_layers
from topologies import Weights, graph

# Of each layer: its text, its weights, and its input and output.
LAYERS: dict[str, tuple[str, Weights, str, str]] = {
    "plain": ("y = Conv<pads=[1,1,1,1]>(x, w, b)", {"w": (12, 8, 3, 3), "b": (12,)}, "float[N, 8, 9, 7]", "float[N, 12, P, Q]"),
    "strided": ("y = Conv<pads=[0,1,2,1], strides=[2,3]>(x, w)", {"w": (12, 8, 3, 2)}, "float[N, 8, 9, 7]", "float[N, 12, P, Q]"),
    "dilated": ("y = Conv<dilations=[2,1]>(x, w, b)", {"w": (12, 8, 3, 3), "b": (12,)}, "float[N, 8, 9, 7]", "float[N, 12, P, Q]"),
    "same": ('y = Conv<auto_pad="SAME_UPPER", strides=[2,2]>(x, w, b)', {"w": (12, 8, 3, 3), "b": (12,)}, "float[N, 8, 9, 7]", "float[N, 12, P, Q]"),
    "pointwise": ("y = Conv<strides=[2,1]>(x, w, b)", {"w": (12, 8, 1, 1), "b": (12,)}, "float[N, 8, 9, 7]", "float[N, 12, P, Q]"),
    "series": ("y = Conv<pads=[2,0]>(x, w, b)", {"w": (12, 8, 3), "b": (12,)}, "float[N, 8, 9]", "float[N, 12, P]"),
    "gemm": ("y = Gemm(x, w, b)", {"w": (20, 24), "b": (24,)}, "float[N, 20]", "float[N, 24]"),
    "transposed": ("y = Gemm<transB=1>(x, w)", {"w": (24, 20)}, "float[N, 20]", "float[N, 24]"),
    "matmul": ("y = MatMul(x, w)", {"w": (20, 24)}, "float[N, 5, 20]", "float[N, 5, 24]"),
    "biased": ("m = MatMul(x, w)  y = Add(m, b)", {"w": (20, 24), "b": (24,)}, "float[N, 5, 20]", "float[N, 5, 24]"),
}  # fmt: skip


def layer(name: str) -> tuple[ir.Model, Layer]:
    """A graph of one layer, and the layer."""
    model = graph(*LAYERS[name])
    return model, weighted_layers(model)[0][0]


def problem(shape: Shape, seed: int = 0, count: int | None = None) -> tuple[Problem, np.ndarray]:
    """A layer of random weights, and its inputs [n, D], which depend on each other and have means."""
    generator = np.random.default_rng(seed)
    width = int(np.prod(shape[1:]))
    mixed = generator.normal(size=(width, width)) * np.exp(-4 * np.arange(width) / width)
    rows = generator.normal(size=(count or 4 * width, width)) @ mixed + generator.normal(size=width)
    with_one = np.c_[rows, np.ones(len(rows))]
    return make_problem(generator.normal(size=(shape[0], width)), with_one.T @ with_one), rows
