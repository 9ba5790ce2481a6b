"""A small network with every kind of layer that passes over weights meet, written as ONNX text."""

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir

from foldpress.data import Dataset
from foldpress.graph import serialize
from foldpress.runtime import open_session, predict

TEXT = """<ir_version: 9, opset_import: ["" : 18]> g (float[N, 2, 6, 6] x) => (float[N, 3] y) <int64[1] places = {36}> {
    c0 = Conv <pads = [1, 1, 1, 1]> (x, w0, b0)
    r0 = Relu (c0)
    c1 = Conv <group = 8, pads = [1, 1, 1, 1]> (r0, w1, b1)
    r1 = Relu (c1)
    c2 = Conv (r1, w2, b2)
    r2 = ACTIVATION
    c3 = Conv <group = 2> (r2, w3)
    p = GlobalAveragePool (c3)
    f = Flatten (p)
    m = MatMul (f, w4)
    n = Add (m, b4)
    y = Gemm <transB = 1> (n, w5, b5) }"""
SHAPES = {"w0": (8, 2, 3, 3), "b0": (8,), "w1": (8, 1, 3, 3), "b1": (8,), "w2": (6, 8, 1, 1), "b2": (6,), "w3": (4, 3, 1, 1),
          "w4": (4, 5), "b4": (5,), "w5": (3, 5), "b5": (3,)}  # fmt: skip


def network(activation: str = "Relu (c2)", **weights: np.ndarray) -> ir.Model:
    """The network with random weights, or those given by name; `activation` is what stands behind the third convolution."""
    random = np.random.default_rng(0)
    stored = {name: random.normal(scale=0.5, size=shape).astype(np.float32) for name, shape in SHAPES.items()}
    proto = onnx.parser.parse_model(TEXT.replace("ACTIVATION", activation))
    proto.graph.initializer.extend(
        onnx.numpy_helper.from_array(array, name) for name, array in (stored | weights).items()
    )
    for node in proto.graph.node:
        node.name = f"node_{node.output[0]}"
    model: ir.Model = ir.from_proto(onnx.shape_inference.infer_shapes(proto))
    return model


def samples(count: int = 60, seed: int = 1) -> Dataset:
    """Inputs whose channels differ in mean and spread, [N, 2, 6, 6]."""
    spread, mean = np.array([1, 3])[:, None, None], np.array([0.5, -1])[:, None, None]
    values = np.random.default_rng(seed).normal(size=(count, 2, 6, 6)) * spread + mean
    return Dataset({"x": values.astype(np.float32)})


def outputs(model: ir.Model, data: Dataset) -> np.ndarray:
    """What the graph gives, [N, 3]."""
    found: np.ndarray = predict(open_session(serialize(model)), data, 20)[0]
    return found
