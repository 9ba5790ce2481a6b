"""Branches of which nothing is left."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from foldpress.errors import RequestError
from foldpress.graph import copy_graph
from foldpress.optimizer.groups import find_groups
from foldpress.optimizer.masks import Masks, masked
from foldpress.optimizer.shrink import shrink
from topologies import BRANCHES, IMAGE, MAP, ROWS, TOKENS, Topology, build, graph, outputs, samples


@pytest.mark.parametrize(("topology", "name", "nodes"), BRANCHES.values(), ids=BRANCHES)
@pytest.mark.parametrize("more", [False, True])
def test_without_its_channels_a_branch_is_its_bias(topology: Topology, name: str, nodes: int, more: bool) -> None:
    """Catches: a bias forgotten, at the wrong axis, or uncut where the stream is cut as well; dead layers left in the graph."""
    model = build(topology)
    kept = {name: np.empty(0, np.intp)}
    kept |= {group.name: np.array([0, 2]) for group in find_groups(model)[0] if more and group.name != name}
    cut = copy_graph(model)
    shrink(cut, Masks(kept))
    onnx.checker.check_model(ir.to_proto(cut), full_check=True)
    feed = samples(model)
    np.testing.assert_allclose(
        outputs(cut, feed)[0], outputs(masked(model, Masks(kept)), feed)[0], rtol=1e-4, atol=1e-5
    )
    assert len(list(cut.graph)) == nodes


@pytest.mark.parametrize(
    ("body", "weights", "x", "y"),
    [
        ("a = Conv(x, w)  r = Relu(a)  y = Conv(r, v)", {"w": (8, 3, 1, 1), "v": (5, 8, 1, 1)}, IMAGE, MAP),
        ("a = MatMul(x, w)  b = MatMul(a, v)  s = Add(b, x)  y = MatMul(b, u)", {"w": (6, 8), "v": (8, 6), "u": (6, 5)}, ROWS, TOKENS),
        ("a = MatMul(x, w)  b = MatMul(a, v)  m = ReduceMean(x, axes)  s = Add(b, m)  y = MatMul(s, u)", {"w": (6, 8), "v": (8, 6), "axes": (1,), "u": (6, 5)}, ROWS, TOKENS),
        ("a = MatMul(x, w)  c = Concat<axis=2>(a, x)  b = MatMul(c, v)  s = Add(b, x)  y = MatMul(s, u)", {"w": (6, 8), "v": (14, 6), "u": (6, 5)}, ROWS, TOKENS),
    ],
    ids=["no sum", "read twice", "the sum gets its shape from the branch", "other inputs"],
)  # fmt: skip
def test_other_channels_cannot_all_go(body: str, weights: dict[str, tuple[int, ...] | int], x: str, y: str) -> None:
    """Catches: a layer without inputs; a sum that loses its shape."""
    model = graph(body, weights, x, y)
    group = find_groups(model)[0][0]
    assert (group.name, group.least) == ("a", 1)
    with pytest.raises(RequestError, match="a cannot do without any channel"):
        shrink(model, Masks({"a": np.empty(0, np.intp)}))
