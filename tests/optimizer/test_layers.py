import numpy as np
import onnx_ir as ir
import pytest

from depthwise import network, outputs, samples
from foldpress.graph import copy_graph
from foldpress.optimizer.layers import Layer, weighted_layers


def layer(model: ir.Model, name: str) -> Layer:
    return next(one for one in weighted_layers(model)[0] if one.name == f"node_{name}")


@pytest.mark.parametrize(
    ("name", "shape"), [("c0", (1, 8, 18)), ("c1", (8, 1, 9)), ("c3", (2, 2, 3)), ("m", (1, 5, 4)), ("y", (1, 3, 5))]
)
def test_a_weight_comes_back_as_it_was(name: str, shape: tuple[int, ...]) -> None:
    """Catches: a transposed or regrouped weight."""
    model = network()
    before = outputs(model, samples())
    one = layer(model, name)
    assert one.matrices(model).shape == shape
    one.store(model, one.matrices(model))
    np.testing.assert_array_equal(outputs(model, samples()), before)


def test_matrices_are_what_the_layer_multiplies_by() -> None:
    """Catches: inputs and outputs of a matrix swapped, or groups in a wrong order."""
    model = network()
    stored = {name: value.const_value.numpy() for name, value in model.graph.initializers.items() if value.const_value}
    np.testing.assert_array_equal(layer(model, "m").matrices(model)[0], stored["w4"].T)
    np.testing.assert_array_equal(layer(model, "c3").matrices(model)[1, 0], stored["w3"][2].ravel())


@pytest.mark.parametrize("name", ["c0", "c3", "m", "y"])
def test_what_is_added_to_a_bias_is_added_to_the_outputs(name: str) -> None:
    """Catches: a correction that lands on another layer, or is lost where a layer has no bias yet."""
    model = network()
    changed = copy_graph(model)
    one = layer(changed, name)
    amount = np.arange(one.matrices(changed)[..., 0].size) / 10
    assert one.add_to_bias(changed, amount)
    tensor = "n" if name == "m" else name
    before, after = (observed(graph, tensor) for graph in (model, changed))
    shape = (1, -1) + (1,) * (before.ndim - 2)
    np.testing.assert_allclose(after, before + amount.reshape(shape), atol=1e-5)


def test_a_bias_that_two_layers_read_is_changed_for_one() -> None:
    """Catches: a correction of one layer that moves another, whose equal bias was merged with it."""
    model = network(b1=np.zeros(8, np.float32))
    first, second = layer(model, "c0"), layer(model, "c1")
    first.node.replace_input_with(2, second.node.inputs[2])
    assert first.add_to_bias(model, np.ones(8))
    assert not np.any(second.bias(model).const_value.numpy())  # type: ignore[union-attr]
    assert np.all(first.bias(model).const_value.numpy() == 1)  # type: ignore[union-attr]


def test_other_operators_say_why() -> None:
    """Catches: a layer left out in silence, or one whose product is scaled taken for a plain one."""
    model = network(w2=np.full((6, 8, 1, 1), np.nan, np.float32))
    layer(model, "y").node.attributes["alpha"] = ir.AttrFloat32("alpha", 0.5)
    layers, declined = weighted_layers(model)
    assert [one.name for one in layers] == ["node_c0", "node_c1", "node_c3", "node_m"]
    reasons = dict(declined)
    assert "finite" in reasons["node_c2"]
    assert "scales its product" in reasons["node_y"]


def observed(model: ir.Model, tensor: str) -> np.ndarray:
    model = copy_graph(model)
    value = next(value for node in model.graph for value in node.outputs if value.name == tensor)
    if not value.is_graph_output():
        model.graph.outputs[0] = value
    return outputs(model, samples())
