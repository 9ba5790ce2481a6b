import importlib.util
import sys

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import pytest
from onnx import numpy_helper

from foldpress.errors import MissingExtraError, PassError
from foldpress.graph import serialize
from foldpress.optimizer.passes import apply
from foldpress.optimizer.transformer_fusion import FuseTransformer
from foldpress.runtime import open_session

# Layer normalization spelled out, as old exporters wrote it.
TEXT = """<ir_version: 6, opset_import: ["" : {opset}]> g (float[N, 4, 8] x) => (float[N, 4, 8] y)
<float two = {{2.0}}, float epsilon = {{0.00001}}> {{
    root = Relu(x)
    mean = ReduceMean<axes = [-1]>(root)
    centred = Sub(root, mean)
    squared = Pow(centred, two)
    variance = ReduceMean<axes = [-1]>(squared)
    safe = Add(variance, epsilon)
    deviation = Sqrt(safe)
    normal = Div(centred, deviation)
    scaled = Mul(normal, scale)
    y = Add(scaled, shift)
}}"""


def graph(opset: int = 11) -> ir.Model:
    proto = onnx.parser.parse_model(TEXT.format(opset=opset))
    rng = np.random.default_rng(0)
    for name in ("scale", "shift"):
        proto.graph.initializer.append(numpy_helper.from_array(rng.standard_normal(8).astype(np.float32), name))
    model: ir.Model = ir.from_proto(proto)
    return model


@pytest.mark.parametrize("tool", ["onnxruntime", "onnxruntime-tools"])
def test_fusion_runs_in_its_own_process_and_computes_the_same(tool: str) -> None:
    """Catches: a fusion that changes results, or that imports the deprecated package into this process."""
    if tool == "onnxruntime-tools" and importlib.util.find_spec("onnxruntime_tools") is None:
        pytest.skip("the extra onnxruntime-tools is not installed")
    model = graph()
    result = apply([FuseTransformer(tool)], model)  # type: ignore[arg-type]
    assert [node.op_type for node in result.model.graph] == ["Relu", "LayerNormalization"]
    assert "1 LayerNormalization" in result.log[0].detail
    x = np.random.default_rng(1).standard_normal((3, 4, 8)).astype(np.float32)
    before, after = (open_session(serialize(one)).run(None, {"x": x})[0] for one in (model, result.model))
    np.testing.assert_allclose(before, after, rtol=1e-4, atol=1e-5)
    assert "onnxruntime_tools" not in sys.modules
    assert importlib.import_module("onnxruntime.transformers.fusion_utils")


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches: a ModuleNotFoundError where the user should read which extra to install."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'foldpress\[onnxruntime-tools\]'"):
        FuseTransformer("onnxruntime-tools")(graph())


def test_a_tool_that_fails_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches: taking the unoptimized graph for the optimized one."""
    monkeypatch.setattr("sys.executable", "/bin/false")
    with pytest.raises(PassError, match="onnxruntime cannot optimize this graph"):
        FuseTransformer()(graph())


def test_nothing_recognized_is_declined() -> None:
    """Catches: a log that claims a fusion that did not happen."""
    text = '<ir_version: 8, opset_import: ["" : 13]> g (float[N, 2] x) => (float[N, 2] y) { y = Relu(x) }'
    result = FuseTransformer()(ir.from_proto(onnx.parser.parse_model(text)))
    assert result.log[0].action == "declined"
