import numpy as np
import onnx_ir as ir
import pytest

from depthwise import network, outputs, samples
from foldpress.data import Dataset
from foldpress.graph import copy_graph
from foldpress.optimizer.bias_correction import BiasCorrection
from foldpress.optimizer.layers import Layer, weighted_layers
from foldpress.optimizer.means import MeanAccumulator, Means
from foldpress.optimizer.one_pass import accumulate
from foldpress.optimizer.passes import apply
from foldpress.optimizer.weight_grid import rounded


def learned(model: ir.Model, layers: list[Layer], data: Dataset) -> Means:
    numbers = np.zeros((1, len(data)), np.intp)
    means = MeanAccumulator(layers, numbers)
    accumulate(model, [means], data, numbers)
    return means.statistics().all()


@pytest.mark.parametrize("only", ["node_c2", "node_c3", "node_m", "node_y"])
def test_the_mean_of_the_outputs_comes_back(only: str) -> None:
    """Catches: a correction of the wrong sign, group or layer: what lies behind these layers is linear, without borders."""
    model, data = network("Identity (c2)"), samples()
    layers, _ = weighted_layers(model)
    skipped = {layer.name for layer in layers} - {only}
    means = learned(model, layers, data)
    coarse = 3

    def with_rounded_weight(graph: ir.Model) -> ir.Model:
        graph = copy_graph(graph)
        layer = next(one for one in weighted_layers(graph)[0] if one.name == only)
        layer.store(graph, rounded(layer.matrices(graph), coarse))
        return graph

    corrected = apply([BiasCorrection(means, model, coarse, skipped)], with_rounded_weight(model))
    wanted = outputs(model, data).mean(0)
    before, after = (
        np.abs(outputs(graph, data).mean(0) - wanted).max() for graph in (with_rounded_weight(model), corrected.model)
    )
    assert before > 1e-3
    assert after < 0.01 * before


def test_a_matrix_without_a_bias_is_declined() -> None:
    """Catches: a correction lost in silence."""
    model, data = network(), samples()
    add = next(node for node in model.graph if node.op_type == "Add")
    add.outputs[0].replace_all_uses_with(add.inputs[0])  # type: ignore[arg-type]
    model.graph.remove(add, safe=True)
    layers, _ = weighted_layers(model)
    means = learned(model, layers, data)
    log = {entry.subject: entry for entry in apply([BiasCorrection(means, model, 127)], model).log}
    assert log["node_m"].action == "declined"
    assert "no stored bias" in log["node_m"].detail
    assert log["node_c3"].action == "done"
