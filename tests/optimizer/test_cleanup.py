from collections import Counter

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
from onnx import numpy_helper

from foldpress.graph import serialize
from foldpress.optimizer.cleanup import clean_up
from foldpress.optimizer.passes import apply
from foldpress.runtime import open_session

TEXT = """<ir_version: 9, opset_import: ["" : 18]> g (float[N, 3, 6, 6] x) => (float[N, 4, 4, 4] y)
<float two = {2.0}, float three = {3.0}> {
    c = Conv(x, w)
    n = BatchNormalization(c, s, o, m, var)
    i = Identity(n)
    six = Mul(two, three)
    dead = Exp(i)
    y = Mul(i, six)
}"""


def test_clean_up_folds_what_can_be_folded_and_computes_the_same() -> None:
    """Catches: batch normalization folded with the wrong epsilon or axis, constants computed at run time, dead nodes."""
    rng = np.random.default_rng(0)
    proto = onnx.parser.parse_model(TEXT)
    for name, shape in {"w": (4, 3, 3, 3), "s": (4,), "o": (4,), "m": (4,), "var": (4,)}.items():
        array = rng.standard_normal(shape).astype(np.float32)
        proto.graph.initializer.append(numpy_helper.from_array(np.abs(array) if name == "var" else array, name))
    model = ir.from_proto(proto)
    result = apply(clean_up(), model)
    assert Counter(node.op_type for node in result.model.graph) == {"Conv": 1, "Mul": 1}
    x = rng.standard_normal((2, 3, 6, 6)).astype(np.float32)
    before, after = (
        open_session(serialize(one), optimize=False).run(None, {"x": x})[0] for one in (model, result.model)
    )
    np.testing.assert_allclose(before, after, rtol=1e-4, atol=1e-5)
    assert any("BatchNormalization" in entry.detail for entry in result.log)
    assert all(value.shape is not None for node in result.model.graph for value in node.outputs)
