import importlib.util
import sys

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import pytest
from onnx import numpy_helper

from foldpress.cost import graph_cost
from foldpress.errors import MissingExtraError, PassError
from foldpress.graph import copy_graph, serialize
from foldpress.optimizer.cleanup import clean_up
from foldpress.optimizer.groups import find_groups
from foldpress.optimizer.masks import Masks, masked
from foldpress.optimizer.passes import apply
from foldpress.optimizer.shrink import shrink
from foldpress.optimizer.transformer_fusion import FuseTransformer
from foldpress.runtime import open_session
from topologies import TOKENS, Topology, build, outputs, samples

# Attention behind a normalization, as BERT has it.
FUSIBLE = Topology(
    """n = LayerNormalization<axis=-1>(x, s, o)
    qm = MatMul(n, wq)  q = Add(bq, qm)  qh = Reshape(q, shape)  qt = Transpose<perm=[0,2,1,3]>(qh)
    km = MatMul(n, wk)  k = Add(bk, km)  kh = Reshape(k, shape)  kt = Transpose<perm=[0,2,3,1]>(kh)
    vm = MatMul(n, wv)  v = Add(bv, vm)  vh = Reshape(v, shape)  vt = Transpose<perm=[0,2,1,3]>(vh)
    m = MatMul(qt, kt)  e = Div(m, var_two)  p = Softmax<axis=-1>(e)  w = MatMul(p, vt)  t = Transpose<perm=[0,2,1,3]>(w)
    f = Reshape(t, shape2)  um = MatMul(f, u)  ub = Add(bu, um)  r = Add(ub, n)
    l = LayerNormalization<axis=-1>(r, s2, o2)  y = MatMul(l, z)""",
    {**{f"{kind}{name}": (16, 16) if kind == "w" else (16,) for kind in "wb" for name in "qkv"}, "u": (16, 16), "bu": (16,),
     **dict.fromkeys(("s", "o", "s2", "o2"), (16,)), "shape": (0, 0, 4, 4), "shape2": (0, 0, 16), "var_two": (), "z": (16, 5)},
    "float[N, 4, 16]", TOKENS, {})  # fmt: skip

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


def test_heads_that_were_fused_are_cut() -> None:
    """Catches: a packed weight of the tool's own making that is cut otherwise than as it is read."""
    plain = build(FUSIBLE)
    model = apply([FuseTransformer(heads=4, width=16), *clean_up()], plain).model
    assert "Attention" in [node.op_type for node in model.graph]
    groups = {group.channels: group for group in find_groups(model)[0]}
    assert groups[4].width == 4
    assert graph_cost(model).macs == graph_cost(plain).macs
    masks = Masks({groups[4].name: np.array([0, 3])})
    cut, feed = copy_graph(model), samples(model)
    shrink(cut, masks)
    hidden, left = (outputs(one, feed)[0] for one in (masked(model, masks), cut))
    np.testing.assert_allclose(left, hidden, rtol=1e-4, atol=1e-5)


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
