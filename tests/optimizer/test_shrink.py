"""Removing channels equals hiding them, whatever lies between the layers that make them and those that consume them."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from foldpress.graph import copy_graph, serialize
from foldpress.optimizer.groups import find_groups
from foldpress.optimizer.masks import Masks, masked
from foldpress.optimizer.shrink import shrink
from topologies import TOPOLOGIES, Topology, build, outputs, samples


def shrunk(model: ir.Model, masks: Masks) -> ir.Model:
    model = copy_graph(model)
    shrink(model, masks)
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    return model


def half(model: ir.Model, seed: int) -> Masks:
    """About half of the channels of every group, at least one."""
    random = np.random.default_rng(seed)
    return Masks(
        {g.name: np.sort(random.choice(g.channels, -(-g.channels // 2), replace=False)) for g in find_groups(model)[0]}
    )


@pytest.mark.parametrize("topology", TOPOLOGIES.values(), ids=TOPOLOGIES)
def test_removing_channels_equals_hiding_them(topology: Topology) -> None:
    """Catches: a tensor forgotten or cut along the wrong axis; sizes, bounds, indices or group counts left as they were."""
    model = build(topology)
    feed = samples(model)
    for seed in range(3):
        masks = half(model, seed)
        cut = shrunk(model, masks)
        whole, hidden, left = (outputs(one, feed)[0] for one in (model, masked(model, masks), cut))
        np.testing.assert_allclose(left, hidden, rtol=1e-4, atol=1e-5)
        assert not np.allclose(hidden, whole, rtol=1e-3)
        assert len(serialize(cut)) < len(serialize(model))
