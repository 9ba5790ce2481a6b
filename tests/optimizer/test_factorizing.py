"""Factorized networks of the rounds: what each has seen, and what they share."""

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from foldpress.cost import graph_cost
from foldpress.data import Dataset
from foldpress.graph import serialize
from foldpress.optimizer import factorizing
from foldpress.optimizer.factorize.factorize import Factorize
from foldpress.optimizer.factorize.forms import factorizable
from foldpress.optimizer.factorize.request import Factorization
from foldpress.optimizer.gram import collect_grams
from foldpress.optimizer.passes import apply
from foldpress.optimizer.press import Press
from foldpress.optimizer.prune import Prune
from foldpress.optimizer.targets import TARGETS
from topologies import graph

NUMBERS = (np.arange(90) % 3)[None]
NETWORK = graph("a = MatMul(x, w) ra = Relu(a) b = MatMul(ra, v) rb = Relu(b) y = MatMul(rb, u)",
                {"w": (24, 40), "v": (40, 32), "u": (32, 20)}, "float[N, 24]", "float[N, 20]")  # fmt: skip


def samples(disturbed: int | None = None) -> Dataset:
    x = np.random.default_rng(0).normal(size=(90, 24)).astype(np.float32) @ np.diag(
        np.linspace(3, 0.1, 24, dtype=np.float32)
    )
    if disturbed is not None:
        x[NUMBERS[0] == disturbed] *= -5
    return Dataset({"x": x})


def press(data: Dataset, **asked: object) -> Press:
    return Press(NETWORK, data, NUMBERS, factorize=Factorization(macs=0.6), **asked)  # type: ignore[arg-type]


def bytes_of(model: ir.Model | None) -> bytes:
    assert model is not None
    return serialize(model)


@pytest.mark.parametrize("prune", [None, Prune("structured", macs=0.8)])
def test_the_round_without_a_fold_has_not_seen_it(prune: Prune | None) -> None:
    """Catches: leakage. Changing a held-out fold's samples must not change the factors that are judged on it."""
    made = [press(data, prune=prune) for data in (samples(), samples(disturbed=2))]
    first, second = (bytes_of(one.without(2).factorized) for one in made)
    assert first == second
    assert bytes_of(made[0].ship().factorized) != bytes_of(made[1].ship().factorized)
    assert bytes_of(made[0].without(1).factorized) != first


def test_a_round_is_what_its_own_samples_alone_give() -> None:
    """Catches: statistics merged over the wrong folds; a round that differs from doing it all over without the fold."""
    data = samples()
    seen = data.select(np.flatnonzero(NUMBERS[0] != 1))
    slots = [layer.slot for layer, _ in factorizable(NETWORK)[0].values()]
    grams = collect_grams(NETWORK, slots, seen, np.zeros((1, len(seen)), np.intp)).all()
    alone = apply([Factorize("macs", 0.6, grams, seen)], NETWORK).model
    assert graph_cost(press(data).without(1).factorized or NETWORK).layers == graph_cost(alone).layers


def test_rounds_that_share_a_network_collect_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches: a pass over the data for every fold."""
    passes = []

    def counted(*given: Any) -> Any:
        passes.append(given)
        return collect_grams(*given)

    monkeypatch.setattr(factorizing, "collect_grams", counted)
    made = press(samples())
    for fold in range(3):
        made.without(fold)
    made.ship()
    assert len(passes) == 1


def test_int8_is_made_of_the_factorized_network() -> None:
    """Catches: a stage that the next one passes over."""
    made = press(samples(), prune=Prune("structured", macs=0.9), target=TARGETS["x86"]).ship()
    assert made.pruned is not None
    assert made.factorized is not None
    assert made.quantized is not None
    assert made.floating is made.factorized
    assert made.last is made.quantized
    before, after, last = (graph_cost(one) for one in (made.pruned, made.factorized, made.quantized))
    assert (after.macs or 0) <= 0.6 * (before.macs or 0)
    assert last.macs == after.macs
    assert len(last.layers) == len(after.layers) > len(before.layers)
