import zlib

import numpy as np
import onnx_ir as ir
import pytest

from foldpress.cost import graph_cost
from foldpress.graph import copy_graph, initializer, set_initializer
from foldpress.optimizer.passes import apply
from foldpress.optimizer.unstructured import PruneThreshold, PruneTwoFour

pytest_plugins = ["trained"]


def weights(model: ir.Model) -> dict[str, np.ndarray]:
    values = [node.inputs[1] for node in model.graph if node.op_type in ("Conv", "Gemm")]
    return {str(value.name): np.array(initializer(model, value)) for value in values if value is not None}


def test_a_threshold_zeroes_exactly_what_is_below_it(digits_graph: ir.Model) -> None:
    """Catches: `<` for `≤`, biases cut along, signs lost."""
    before, after = weights(digits_graph), weights(apply([PruneThreshold(threshold=0.02)], digits_graph).model)
    for name, weight in before.items():
        np.testing.assert_array_equal(after[name], np.where(np.abs(weight) <= 0.02, 0, weight))


@pytest.mark.parametrize("sparsity", [0.1, 0.5, 0.9])
def test_sparsity_is_met_over_all_layers_together(sparsity: float, digits_graph: ir.Model) -> None:
    """Catches: the same share in every layer, where small weights are not spread evenly."""
    after = weights(apply([PruneThreshold(sparsity=sparsity)], digits_graph).model)
    zeros, total = sum(int((w == 0).sum()) for w in after.values()), sum(w.size for w in after.values())
    assert zeros / total == pytest.approx(sparsity, abs=1e-3)
    assert len({round(float((w == 0).mean()), 2) for w in after.values()}) > 1


def test_a_layer_may_have_a_share_of_its_own(digits_graph: ir.Model) -> None:
    """Catches: a layer's zeros that count for the others too; one that is left out of both, or in both."""
    sparsity, own = 0.6, {"first": 0.0, "last": 0.9}
    after = weights(apply([PruneThreshold(sparsity, layers=own)], digits_graph).model)
    first, *between, last = ((weight == 0).mean() for weight in after.values())
    assert first == 0
    assert last == pytest.approx(0.9, abs=1e-3)
    sizes = [weight.size for weight in [*after.values()][1:-1]]
    assert np.average(between, weights=sizes) == pytest.approx(sparsity, abs=1e-3)


def test_a_layer_may_have_a_threshold_of_its_own(digits_graph: ir.Model) -> None:
    """Catches: a threshold taken for a share."""
    before = weights(digits_graph)
    after = weights(apply([PruneThreshold(threshold=0.02, layers={"Gemm": 0.05})], digits_graph).model)
    gemm = {
        str(node.inputs[1].name) for node in digits_graph.graph if node.op_type == "Gemm" and node.inputs[1] is not None
    }
    for name, weight in before.items():
        np.testing.assert_array_equal(
            after[name], np.where(np.abs(weight) <= (0.05 if name in gemm else 0.02), 0, weight)
        )


def test_two_of_four_along_what_is_summed(digits_graph: ir.Model) -> None:
    """Catches: blocks along the output axis, which no sparse kernel takes."""
    result = apply([PruneTwoFour()], digits_graph)
    before = weights(digits_graph)
    for name, after in weights(result.model).items():
        if before[name].shape[1] % 4:
            np.testing.assert_array_equal(after, before[name])
            continue
        blocks = np.moveaxis(after, 1, -1).reshape(-1, 4)
        originals = np.abs(np.moveaxis(before[name], 1, -1).reshape(-1, 4))
        assert ((blocks != 0).sum(1) <= 2).all()
        kept = np.sort(np.abs(blocks), 1)[:, 2:]
        np.testing.assert_array_equal(kept, np.sort(originals, 1)[:, 2:])
    assert any(entry.action == "declined" for entry in result.log)


def test_the_log_does_not_promise_more_than_a_smaller_compressed_file(digits_graph: ir.Model) -> None:
    """Catches: a report in which zeros look like a gain; a saving that is estimated from the number of zeros."""
    result = apply([PruneThreshold(sparsity=0.5)], digits_graph)
    entry = result.log[-1]
    assert (entry.subject, "no onnxruntime kernel skips zeros" in entry.detail) == ("graph", True)
    assert graph_cost(result.model).macs == graph_cost(digits_graph).macs
    before, after = (
        sum(len(zlib.compress(w.tobytes())) for w in weights(m).values()) for m in (digits_graph, result.model)
    )
    assert int(entry.detail.rsplit(" ", 1)[1][:-1]) == pytest.approx(100 * after / before, abs=0.6)
    assert 0.5 < after / before < 0.8


def test_a_weight_that_is_no_number_stays(digits_graph: ir.Model) -> None:
    """Catches: damage in a model that pruning hides."""
    model = copy_graph(digits_graph)
    name = next(iter(weights(model)))
    damaged = weights(model)[name]
    damaged.flat[0] = np.nan
    set_initializer(model, name, damaged)
    assert np.isnan(weights(apply([PruneThreshold(threshold=0.02)], model).model)[name].flat[0])
