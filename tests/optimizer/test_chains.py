import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import pytest

from depthwise import network, outputs, samples
from foldpress.optimizer.chains import find_chains, rescale


def test_scaling_changes_nothing_but_the_channels() -> None:
    """Catches: a scale that one side does not take, or that lands on another channel, in every kind of layer."""
    model = network()
    before = outputs(model, samples())
    chains = find_chains(model)[0]
    names = [chain.name for chain in chains]
    assert names == [
        "node_c0 → node_c1",
        "node_c1 → node_c2",
        "node_c2 → node_c3",
        "node_c3 → node_m",
        "node_m → node_y",
    ]
    for chain in chains:
        rescale(model, chain, np.linspace(0.5, 4, chain.channels))
    np.testing.assert_allclose(outputs(model, samples()), before, rtol=1e-4, atol=1e-4)


def test_depthwise_layers_are_told_apart() -> None:
    """Catches: a grouped convolution taken for a depthwise one, under which scales are free."""
    chains = find_chains(network())[0]
    assert [chain.into_depthwise for chain in chains] == [True, False, False, False, False]
    assert [chain.touches_depthwise for chain in chains] == [True, True, False, False, False]


@pytest.mark.parametrize("activation", ["Clip (c2, zero, six)", "Sigmoid (c2)", "Softmax <axis = 1> (c2)"])
def test_what_is_not_homogeneous_ends_a_chain(activation: str) -> None:
    """Catches: ReLU6, which a scale does not pass, treated as ReLU."""
    limits = {"zero": np.array(0, np.float32), "six": np.array(6, np.float32)} if "Clip" in activation else {}
    chains, declined = find_chains(network(activation, **limits))
    assert "node_c2 → node_c3" not in [chain.name for chain in chains]
    assert "not homogeneous" in dict(declined)["node_c2"]


def test_a_branch_ends_a_chain() -> None:
    """Catches: channels scaled under a second reader that knows nothing of it."""
    model = network("Add (c2, c2)")
    assert "more than once" in dict(find_chains(model)[1])["node_c2"]


def test_a_normalization_starts_a_chain() -> None:
    """Catches: LayerNormalization, or the transposed copy of its output, not understood."""
    text = """<ir_version: 9, opset_import: ["" : 18]> g (float[N, 4, 6] x) => (float[4, N, 3] y) {
        n = LayerNormalization (x, g, b)  t = Transpose <perm = [1, 0, 2]> (n)  y = MatMul (t, w) }"""
    random = np.random.default_rng(0)
    stored = {name: random.normal(size=shape).astype(np.float32) for name, shape in (("g", 6), ("b", 6), ("w", (6, 3)))}
    proto = onnx.parser.parse_model(text)
    proto.graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in stored.items())
    for node in proto.graph.node:
        node.name = f"node_{node.output[0]}"
    model: ir.Model = ir.from_proto(onnx.shape_inference.infer_shapes(proto))
    (chain,), _ = find_chains(model)
    assert chain.normalized
    assert chain.tensors == (("n", 2), ("t", 2))
    rescale(model, chain, np.linspace(0.5, 2, 6))
    scaled = model.graph.initializers["w"].const_value.numpy()  # type: ignore[union-attr]
    np.testing.assert_allclose(scaled, stored["w"] * np.linspace(0.5, 2, 6)[:, None], rtol=1e-6)
    np.testing.assert_allclose(
        model.graph.initializers["b"].const_value.numpy(),  # type: ignore[union-attr]
        stored["b"] / np.linspace(0.5, 2, 6),
        rtol=1e-6,
    )
