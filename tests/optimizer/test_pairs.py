"""Which layers make a pair, and that its weights come and go as they are stored."""

import numpy as np
import onnx_ir as ir
import pytest

from foldpress.data import Dataset
from foldpress.graph import copy_graph
from foldpress.runtime import open_session, predict
from layer_pairs import CASES, CHANNELS, CONVOLUTIONS, MAPS, TAPS, network, pair_at

RNG = np.random.default_rng(2)


@pytest.mark.parametrize(("nodes", "given", "name", "kept"), CASES)
def test_what_is_stored_is_what_is_read(nodes: str, given: str, name: str, kept: list[int]) -> None:
    """Catches: rows and columns mixed up; a bias lost or added twice; what is gone brought back."""
    model = network(nodes, given)
    pair = pair_at(model, name, kept)
    assert pair is not None
    assert pair.channels.tolist() == CHANNELS
    before, changed = pair.weights(model), copy_graph(model)
    again = pair_at(changed, name, kept)
    assert again is not None
    again.store(changed, (before[0] * 2, before[1] * 3))
    for one, other, factor in zip(before, again.weights(changed), (2, 3), strict=True):
        np.testing.assert_allclose(other, one * factor, rtol=1e-6)
    again.store(changed, before)
    data = Dataset({"x": RNG.normal(size=[4 if size is None else size for size in _sizes(model)]).astype(np.float32)})
    wanted, found = (predict(open_session(graph), data, 4)[0] for graph in (model, changed))
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


def _sizes(model: ir.Model) -> list[int | None]:
    return [size if isinstance(size, int) else None for size in model.graph.inputs[0].shape or ()]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("r = Relu(a)", "r = Sigmoid(a)"),
        ("y = Neg(z)", "n = ReduceMean<keepdims=0>(r) y = Add(z, n)"),
        ("y = Neg(z)", "n = ReduceMean<keepdims=0>(a) y = Add(z, n)"),
        ("Conv<pads=[1,1,1,1]>(x, k) r", "Conv<pads=[1,1,1,1]>(x, k) e = Conv<group=6>(a, d) r"),
    ],
    ids=["no rectifier", "read twice behind", "read twice before", "depthwise"],
)
def test_what_others_read_is_no_pair(before: str, after: str) -> None:
    """Catches: channels changed that something else needs as they are; a derivative that is not a rectifier's."""
    nodes = CONVOLUTIONS.replace(before, after)
    nodes = nodes.replace("Relu(a)", "Relu(e)") if "Conv<group" in nodes else nodes
    assert nodes != CONVOLUTIONS
    assert pair_at(network(nodes, MAPS), "z", TAPS) is None
