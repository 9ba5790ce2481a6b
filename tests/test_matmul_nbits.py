"""What MatMulNBits stores, against onnxruntime's own reading of it."""

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from foldpress.graph import serialize
from foldpress.matmul_nbits import DOMAIN, OPERATOR, pack, stored_integers
from foldpress.runtime import open_session

WIDTH, COLUMNS, BLOCK = 40, 5, 16


def graph(bits: int, points: np.ndarray | None) -> tuple[ir.Model, ir.Node, np.ndarray]:
    """A product with stored integers of so many bits, scale 1; the last block is padded."""
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1)
    integers = np.random.default_rng(bits).integers(low, high, (COLUMNS, 3, BLOCK))
    stored: dict[str, Any] = {"B": pack(integers, bits), "scales": np.ones((COLUMNS, 3), np.float32)}
    stored |= {} if points is None else {"points": points}
    values = [
        ir.Value(name=k, const_value=ir.tensor(v), shape=ir.Shape(v.shape), type=ir.TensorType(ir.tensor(v).dtype))
        for k, v in stored.items()
    ]
    x = ir.Value(name="x", shape=ir.Shape(["N", WIDTH]), type=ir.TensorType(ir.DataType.FLOAT))
    sizes = {"K": WIDTH, "N": COLUMNS, "bits": bits, "block_size": BLOCK}
    node = ir.node(OPERATOR, [x, *values], sizes, domain=DOMAIN)
    node.outputs[0].name, node.outputs[0].type = "y", ir.TensorType(ir.DataType.FLOAT)
    node.outputs[0].shape = ir.Shape(["N", COLUMNS])
    made = ir.Graph([x], node.outputs, nodes=[node], initializers=values, opset_imports={"": 18, DOMAIN: 1}, name="g")
    return ir.Model(made, ir_version=9), node, integers


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("with_points", [False, True])
def test_what_is_read_is_what_onnxruntime_multiplies_by(bits: int, with_points: bool) -> None:
    """Catches bits in the wrong order, blocks along the wrong axis, padding that is counted, a forgotten zero point."""
    row = -(-3 * bits // 8)
    points = np.random.default_rng(9).integers(0, 256, COLUMNS * row).astype(np.uint8) if with_points else None
    model, node, integers = graph(bits, points)
    multiplied = open_session(serialize(model)).run(None, {"x": np.eye(WIDTH, dtype=np.float32)})[0]
    found = stored_integers(model, node)
    np.testing.assert_array_equal(found, multiplied)
    if points is None:
        np.testing.assert_array_equal(found, integers.reshape(COLUMNS, -1)[:, :WIDTH].T)
