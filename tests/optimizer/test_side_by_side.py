import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir

from foldpress.graph import serialize, set_initializer
from foldpress.optimizer.side_by_side import original_name, side_by_side
from foldpress.runtime import open_session

X = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)


def network(weight: float) -> ir.Model:
    """x + w, its rectified sum, and an output that nothing asks for."""
    proto = onnx.parser.parse_model(
        '<ir_version: 9, opset_import: ["" : 18]> g (float[N, 3] x) => (float[N, 3] y) '
        "<float[1] w = {1.0}> { s = Add(x, w)  r = Relu(s)  y = Neg(r) }"
    )
    model: ir.Model = ir.from_proto(onnx.shape_inference.infer_shapes(proto))
    set_initializer(model, "w", np.array([weight], np.float32))
    return model


def test_both_networks_are_computed_and_nothing_else() -> None:
    """Catches: weights of one network in the other; a name that both have; work for outputs that nobody reads."""
    original, changed = network(1.0), network(-2.0)
    before = serialize(original), serialize(changed)
    both = side_by_side(original, changed, ["x", "s", original_name("s"), original_name("r")])
    x, ours, theirs, rectified = open_session(serialize(both)).run(None, {"x": X})
    np.testing.assert_array_equal(x, X)
    np.testing.assert_array_equal(ours, X - 2)
    np.testing.assert_array_equal(theirs, X + 1)
    np.testing.assert_array_equal(rectified, np.maximum(X + 1, 0))
    assert len(list(both.graph)) == 3
    assert (serialize(original), serialize(changed)) == before


def test_outputs_that_are_left_out_have_no_name() -> None:
    """Catches: two values of the original with the prefix alone for a name, which onnxruntime refuses."""
    proto = onnx.parser.parse_model(
        '<ir_version: 9, opset_import: ["" : 18, "com.microsoft" : 1]> g (float[N, 3] x) => (float[N, 3] y) '
        "<float[3] s = {1.0, 1.0, 1.0}> { n, , , r = com.microsoft.SkipLayerNormalization(x, x, s)  y = Add(n, r) }"
    )
    model: ir.Model = ir.from_proto(onnx.shape_inference.infer_shapes(proto))
    ours, theirs = open_session(serialize(side_by_side(model, model, ["y", original_name("y")]))).run(None, {"x": X})
    np.testing.assert_array_equal(ours, theirs)
