"""Two layers with a rectifier between them, of which the second has lost channels: convolutions and matrices."""

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
from onnx import numpy_helper

from foldpress.optimizer.pairs import Pair, pair_of
from foldpress.optimizer.places import places

RNG = np.random.default_rng(0)
STORED = {
    "k": (6, 3, 3, 3), "k1": (3, 6, 3, 3), "d": (6, 1, 3, 3), "c": (6,),
    "m": (4, 6), "m1": (6, 4), "b": (6,), "b1": (4,),
}  # fmt: skip
MAPS = "float[N, 3, 8, 8] x"
ROWS = "float[N, 5, 4] x"
CONVOLUTIONS = "a = Conv<pads=[1,1,1,1]>(x, k) r = Relu(a) z = Conv<strides=[2,2]>(r, k1) y = Neg(z)"
MATRICES = "a = MatMul(x, m) s = Add(b, a) r = Relu(s) p = MatMul(r, m1) z = Add(p, b1) y = Neg(z)"


def network(nodes: str, given: str) -> ir.Model:
    """With random weights for what the nodes read."""
    proto = onnx.parser.parse_model(
        f'<ir_version: 9, opset_import: ["" : 18]> g ({given}) => (float[M] y) {{ {nodes} }}'
    )
    read = {name for node in proto.graph.node for name in node.input}
    for name in sorted(STORED.keys() & read):
        proto.graph.initializer.append(numpy_helper.from_array(RNG.normal(size=STORED[name]).astype(np.float32), name))
    for node in proto.graph.node:
        node.name = node.output[0]
    proto.graph.output[0].type.tensor_type.ClearField("shape")
    model: ir.Model = ir.from_proto(onnx.shape_inference.infer_shapes(proto, strict_mode=True))
    return model


def pair_at(model: ir.Model, name: str, kept: list[int]) -> Pair | None:
    left = {name: np.array(kept)}
    return pair_of(model, next(place for place in places(model, left) if place.layer.name == name), left)


CHANNELS = [0, 2, 3, 5]
TAPS = [channel * 9 + tap for channel in CHANNELS for tap in range(9)]
CASES = [(CONVOLUTIONS, MAPS, "z", TAPS), (MATRICES, ROWS, "p", CHANNELS)]
