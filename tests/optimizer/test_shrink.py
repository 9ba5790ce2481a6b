"""Removing channels equals hiding them, whatever lies between the layers that make them and those that consume them."""

import os

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from foldpress.cost import graph_cost
from foldpress.data import Dataset, Indices
from foldpress.graph import copy_graph, serialize
from foldpress.optimizer.groups import ChannelGroup, find_groups
from foldpress.optimizer.masks import Masks, masked
from foldpress.optimizer.proof import prove_equal
from foldpress.optimizer.shares import LayerShares
from foldpress.optimizer.shrink import shrink
from random_graphs import networks
from topologies import TOPOLOGIES, Topology, build, outputs, samples

EXAMPLES = int(os.environ.get("FOLDPRESS_EXAMPLES", "60"))


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


@given(model=networks(), seed=st.integers(0, 2**16))
@settings(max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_it_holds_for_any_network(model: ir.Model, seed: int) -> None:
    """Catches: two rules that are right by themselves and wrong together."""
    random = np.random.default_rng(seed)
    masks = Masks({group.name: some(random, group) for group in find_groups(model)[0] if random.random() < 0.8})
    cut = shrunk(model, masks)
    assert [value.shape for value in cut.graph.inputs] == [value.shape for value in model.graph.inputs]
    assert [value.shape for value in cut.graph.outputs] == [value.shape for value in model.graph.outputs]
    prove_equal(masked(model, masks), cut, Dataset(samples(model, 4)))


def some(random: np.random.Generator, group: ChannelGroup) -> Indices:
    """Channels drawn at random, as few as there may be, or none where that is possible."""
    return np.flatnonzero(random.permutation(group.channels) < random.integers(group.least, group.channels))


def test_shares_are_those_of_the_graph_that_is_left() -> None:
    """Catches: a budget kept on paper only, where channels of several groups meet in a layer, or a layer has two weights."""
    for name, topology in TOPOLOGIES.items():
        model = build(topology)
        masks = half(model, 1)
        cut = shrunk(model, masks)
        groups = find_groups(model)[0]
        shares = LayerShares(groups)({g.name: g.channels - len(masks.channels[g.name]) for g in groups})
        after = {layer.name: layer for layer in graph_cost(cut).layers}
        for layer in graph_cost(model).layers:
            share = shares.get(layer.name, 1.0)
            assert after[layer.name].parameters == pytest.approx(share * layer.parameters), (name, layer.name)
            if layer.macs is not None:
                assert after[layer.name].macs == pytest.approx(share * layer.macs), (name, layer.name)
