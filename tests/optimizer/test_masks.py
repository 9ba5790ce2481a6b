"""What masks hide, and what they say of the stored tensors."""

import numpy as np
import pytest

from foldpress.graph import initializer, set_initializer
from foldpress.optimizer.groups import find_groups
from foldpress.optimizer.masks import Masks, mask_group, masked, unmask
from topologies import BRANCHES, TOPOLOGIES, build, outputs, samples


@pytest.mark.parametrize(
    "name", ["LSTM in both directions", "heads", "one head", "squeeze and excitation", "shuffled channels"]
)
def test_what_is_hidden_may_be_anything(name: str) -> None:
    """Catches: a consumer that still sees a channel, on any of its ways (a gate, the recurrence, a product of two tensors)."""
    model = build(TOPOLOGIES[name])
    feed = samples(model)
    group = find_groups(model)[0][0]
    hidden = masked(model, Masks({group.name: np.arange(1, group.channels)}))
    expected = outputs(hidden, feed)[0]
    for slot in find_groups(hidden)[0][0].slots:  # of the channel that is gone, in whatever makes it
        if slot.node in find_groups(hidden)[0][0].producers:
            stored = np.array(initializer(hidden, slot.value))
            np.moveaxis(stored, slot.axis, 0)[slot.positions(np.array([0]))] = 0.3
            set_initializer(hidden, str(slot.value.name), stored)
    np.testing.assert_allclose(outputs(hidden, feed)[0], expected, rtol=1e-4, atol=1e-5)


def test_products_put_in_to_hide_channels_come_out_again() -> None:
    """Catches: a mask left in the graph that ships."""
    model = build(TOPOLOGIES["one head"])
    group = find_groups(model)[0][0]
    before, feed = len(list(model.graph)), samples(model)
    whole = outputs(model, feed)[0]
    mask_group(model, group, np.array([0]))
    assert len(list(model.graph)) == before + 1
    assert not np.allclose(outputs(model, feed)[0], whole)
    unmask(model)
    np.testing.assert_array_equal(outputs(model, feed)[0], whole)


def test_single_weights() -> None:
    """Catches: weights left where the mask says no."""
    model = build(BRANCHES["a matrix without a bias"][0])
    stays = np.random.default_rng(0).random((6, 8)) > 0.5
    found = masked(model, Masks(weights={"w": stays}))
    before, after = (np.array(initializer(one, one.graph.initializers["w"])) for one in (model, found))
    np.testing.assert_array_equal(after, np.where(stays, before, 0))
    assert not stays.all()
