"""Channels, heads and hidden units cut out of networks with the weights and data of others: depthwise, attention, recurrent."""

import os
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from foldpress.cost import graph_cost
from foldpress.data import Dataset, fit_inputs
from foldpress.exporter.export import export_source
from foldpress.graph import input_specs, serialize
from foldpress.optimizer.cleanup import clean_up
from foldpress.optimizer.groups import find_groups
from foldpress.optimizer.passes import apply
from foldpress.optimizer.press import Press
from foldpress.optimizer.prune import Prune
from foldpress.runtime import open_session, predict
from foldpress.sources import read_data

SHARED = Path(os.environ.get("FOLDPRESS_SHARED", Path(__file__).parents[2] / "shared" / "data"))
FOLDERS = Path(__file__).parent / "data"

pytestmark = pytest.mark.skipif(not SHARED.is_dir(), reason=f"the trained weights and data are not in {SHARED}")


def load(name: str, weights: str, monkeypatch: pytest.MonkeyPatch) -> tuple[ir.Model, Dataset]:
    monkeypatch.setenv("FOLDPRESS_SHARED", str(SHARED))
    data = read_data("data:load", FOLDERS / name)
    exported = export_source("model:build", str(SHARED / weights), FOLDERS / name, data)
    model = apply(clean_up(), exported.graph).model
    return model, fit_inputs(data, input_specs(model))


def right(model: ir.Model, data: Dataset) -> float:
    return float((predict(open_session(serialize(model)), data, 50)[0].argmax(1) == data.y).mean())


@pytest.mark.parametrize(
    ("name", "weights", "groups", "budget", "largest_drop"),
    [
        ("ds_cnn", "kws/ds_cnn.safetensors", [64] * 5, 0.8, 0.02),
        ("lstm", "spoken_digits/best_modelFP.pth", [64, 64], 0.8, 0.03),
    ],
)
def test_what_is_cut_and_what_it_costs(
    name: str, weights: str, groups: list[int], budget: float, largest_drop: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches: depthwise channels or hidden units that are not found; surgery that is no equal of the mask; no repair."""
    model, data = load(name, weights, monkeypatch)
    assert [group.channels for group in find_groups(model)[0]] == groups
    order = np.random.default_rng(0).permutation(len(data))
    seen, unseen = data.select(order[:300]), data.select(order[300:])
    press = Press(model, seen, np.zeros((1, 300), np.intp), prune=Prune("structured", macs=budget), target=None)
    pruned = press.ship().pruned
    assert pruned is not None
    before, after = (sum(layer.macs or 0 for layer in graph_cost(one).layers) for one in (model, pruned))
    assert budget - 0.06 < after / before <= budget
    assert right(model, unseen) - right(pruned, unseen) <= largest_drop


def test_heads_and_neurons_of_a_transformer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches: packed queries, keys and values that no choice of axis lets go; tokens taken for channels."""
    model, _ = load("vit", "cifar10/vit.pth", monkeypatch)
    groups, declined = find_groups(model)
    assert sorted((group.channels, group.width) for group in groups) == [(8, 16)] * 6 + [(256, 1)] * 6
    assert all(group.least == 0 for group in groups)
    assert sum("LayerNormalization" in reason for _, reason in declined) >= 12
