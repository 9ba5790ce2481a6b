"""Normalizations with several layers behind them, whole or decomposed, and what smoothing them is worth."""

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import pytest

from foldpress.data import Dataset
from foldpress.graph import serialize
from foldpress.optimizer.chains import Chain, find_chains, rescale
from foldpress.optimizer.press import Press
from foldpress.optimizer.smooth import smoothing_scales
from foldpress.optimizer.targets import TARGETS
from foldpress.runtime import open_session, predict

NORMALIZATIONS = {
    "whole": "n = LayerNormalization (x, gain, bias)",
    "bias behind": "l = LayerNormalization (x, gain)  n = Add (bias, l)",
    "decomposed": """m = ReduceMean <keepdims = 1> (x, last)  c = Sub (x, m)  s = Mul (c, c)  v = ReduceMean <keepdims = 1> (s, last)
        e = Add (v, tiny)  r = Sqrt (e)  z = Div (c, r)  l = Mul (z, gain)  n = Add (l, bias)""",
    "of squares, decomposed": """s = Mul (x, x)  v = ReduceMean <keepdims = 1> (s, last)  e = Add (v, tiny)  r = Sqrt (e)
        z = Div (x, r)  n = Mul (gain, z)""",
}
READERS = (
    "q = MatMul (n, wq)  t = Transpose <perm = [1, 0, 2]> (n)  k = MatMul (t, wk)  j = Transpose <perm = [1, 0, 2]> (k)"
)
SAMPLES = np.random.default_rng(1).standard_normal((64, 4, 6)).astype(np.float32)


def network(normalization: str, body: str = READERS, ends: str = "y = Add (q, j)") -> ir.Model:
    """A normalization with outliers in one channel, and layers behind it."""
    proto = onnx.parser.parse_model(f"""<ir_version: 9, opset_import: ["" : 18]>
        g (float[N, 4, 6] x) => (float[N, 4, 5] y) <int64[1] last = {{-1}}, float tiny = {{0.00001}}> {{
            {normalization}  {body}  {ends} }}""")
    random = np.random.default_rng(0)
    stored = {"gain": np.array([1, 40, 2, 0.5, 1, 1]), "bias": random.normal(size=6)}
    stored |= {name: random.normal(size=(6, 5)) for name in ("wq", "wk")} | {"square": random.normal(size=(6, 6))}
    for name in ("wq", "wk"):
        stored[name][1] /= 40  # what trained networks do with outliers
    used = {name for node in proto.graph.node for name in node.input}
    for name, array in stored.items():
        if name in used:
            proto.graph.initializer.append(onnx.numpy_helper.from_array(array.astype(np.float32), name))
    for node in proto.graph.node:
        node.name = f"node_{node.output[0]}"
    model: ir.Model = ir.from_proto(onnx.shape_inference.infer_shapes(proto))
    return model


def outputs(model: ir.Model) -> np.ndarray:
    found: np.ndarray = predict(open_session(serialize(model)), Dataset({"x": SAMPLES}), 64)[0]
    return found


def normalized(model: ir.Model) -> tuple[list[Chain], dict[str, str]]:
    chains, declined = find_chains(model)
    return [chain for chain in chains if chain.normalized], dict(declined)


@pytest.mark.parametrize("kind", NORMALIZATIONS)
def test_all_layers_behind_a_normalization_share_its_scales(kind: str) -> None:
    """Catches: one of several readers, or the bias behind, that does not take the scale."""
    model = network(NORMALIZATIONS[kind])
    before = outputs(model)
    (chain,), _ = normalized(model)
    assert {layer.name for layer in chain.consumers} == {"node_q", "node_k"}
    weight = model.graph.initializers["wk"].const_value.numpy()  # type: ignore[union-attr]
    rescale(model, chain, np.linspace(0.25, 4, 6))
    scaled = model.graph.initializers["wk"].const_value.numpy()  # type: ignore[union-attr]
    np.testing.assert_allclose(scaled, weight * np.linspace(0.25, 4, 6)[:, None], rtol=1e-6)
    np.testing.assert_allclose(outputs(model), before, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("body", "ends", "reason"),
    [
        ("p = MatMul (n, square)  o = Add (p, n)  q = MatMul (o, wq)", "y = Relu (q)", "node_o reads its channels too"),
        (READERS + " o = Relu (q)  p = Erf (n)  u = ReduceMean <keepdims = 1> (p, last)  w = Add (u, o)", "y = Add (w, j)", "node_p reads its channels too"),
        ("q = MatMul (n, wq)  t = Transpose <perm = [0, 2, 1]> (n)  a = MatMul (n, t)", "y = MatMul (a, q)", "node_a reads its channels too"),
    ],
)  # fmt: skip
def test_any_other_reader_declines(body: str, ends: str, reason: str) -> None:
    """Catches: a residual sum, or attention without weights, that would get scaled channels."""
    chains, declined = normalized(network(NORMALIZATIONS["whole"], body, ends))
    assert not chains
    assert reason in declined["node_n"]


def test_an_input_of_the_layers_counts_once_for_all() -> None:
    """Catches: the scale of the first reader, or of their sum, in place of equation 4 over all of their weights."""
    model = network(NORMALIZATIONS["whole"])
    (chain,), _ = normalized(model)
    peak = np.abs(SAMPLES).max((0, 1)).astype(np.float64)
    weights = [layer.matrices(model) for layer in chain.consumers]
    both = np.concatenate([model.graph.initializers[name].const_value.numpy() for name in ("wq", "wk")], axis=1)  # type: ignore[union-attr]
    wanted = np.array([np.sqrt(peak[c] / np.abs(both[c]).max()) for c in range(6)])
    found = smoothing_scales(chain, peak, weights)
    np.testing.assert_allclose(found, wanted / np.exp(np.log(wanted).mean()), rtol=1e-6)


@pytest.mark.parametrize("kind", ["whole", "bias behind"])
def test_outliers_cost_less_once_they_are_smoothed(kind: str) -> None:
    """Catches: ranges or weights of the graph before smoothing."""
    model = network(NORMALIZATIONS[kind])
    wanted, errors = outputs(model), []
    for names in ((), ("smooth",)):
        numbers = np.zeros((1, len(SAMPLES)), np.intp)
        press = Press(model, Dataset({"x": SAMPLES}), numbers, prune=None, target=TARGETS["arm"], ranges="minmax", weights=names)  # fmt: skip
        made = press.ship().quantized
        assert made is not None
        errors.append(np.square(outputs(made) - wanted).mean())
    assert errors[1] < errors[0] / 2
