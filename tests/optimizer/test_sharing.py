"""Shared weights in the rounds of the k-fold check, and before static int8."""

import numpy as np
import pytest

from depthwise import network, outputs, samples
from foldpress.graph import initializer, serialize
from foldpress.optimizer.gram import collect_grams
from foldpress.optimizer.layers import weighted_layers
from foldpress.optimizer.passes import apply
from foldpress.optimizer.press import Press
from foldpress.optimizer.prune import Prune
from foldpress.optimizer.share import Share, ShareWeights
from foldpress.optimizer.targets import TARGETS
from foldpress.precision import Precision

MODEL, DATA = network(), samples()
NUMBERS = np.arange(len(DATA))[None] % 3
SHARE = Share(3)


def press(prune: Prune | None = None, share: Share = SHARE, target: str | None = None) -> Press:
    what = None if target is None else TARGETS[target]
    return Press(MODEL, DATA, NUMBERS, prune=prune, share=share, target=what, precision=Precision("static"))


@pytest.mark.parametrize("fold", [None, 1])
def test_a_round_learns_from_the_other_folds_alone(fold: int | None) -> None:
    """Catches a codebook that has seen the fold that it is judged on."""
    pressed = press().ship() if fold is None else press().without(fold)
    seen = DATA.select(np.flatnonzero(NUMBERS[0] != (-1 if fold is None else fold)))
    slots = [layer.slot for layer in weighted_layers(MODEL)[0]]
    grams = collect_grams(MODEL, slots, seen, np.zeros((1, len(seen)), np.intp)).all()
    expected = apply([ShareWeights(SHARE, grams)], MODEL).model
    assert pressed.shared is not None
    np.testing.assert_allclose(outputs(pressed.shared, DATA), outputs(expected, DATA), rtol=1e-4, atol=1e-5)
    assert pressed.last is pressed.shared


def test_rounds_differ_and_are_repeatable() -> None:
    """Catches one codebook for all rounds."""
    one = press()
    graphs = [serialize(pressed.last) for pressed in (one.without(0), one.without(1), one.ship()) if pressed.last]
    assert len(set(graphs)) == 3
    assert serialize(press().ship().last) == graphs[2]  # type: ignore[arg-type]


@pytest.mark.parametrize("prune", [Prune("unstructured", sparsity=0.6), Prune("structured", macs=0.7)])
def test_pruned_networks_share_what_is_left(prune: Prune) -> None:
    """Catches Gram matrices of the network before it was pruned, and zeros that get a value."""
    pressed = press(prune).without(2)
    assert pressed.pruned is not None
    assert pressed.shared is not None
    for layer in weighted_layers(pressed.shared)[0]:
        stored = np.array(initializer(pressed.shared, layer.weight))
        before = np.array(initializer(pressed.pruned, pressed.pruned.graph.initializers[str(layer.weight.name)]))
        assert len(np.unique(stored)) <= 8
        np.testing.assert_array_equal(stored == 0, before == 0)


@pytest.mark.parametrize("target", ["x86-vnni", "x86"])
@pytest.mark.parametrize("share", [SHARE, Share(1, "channel", "binary"), Share(2, "tensor", "ternary")])
def test_int8_weights_share_integers(share: Share, target: str) -> None:
    """Catches values that the quantizer's scales take apart again, and a codebook that is no codebook any more."""
    pressed = press(share=share, target=target).ship()
    assert pressed.quantized is not None
    found = {name: value.const_value for name, value in pressed.quantized.graph.initializers.items()}
    weights = {name: one.numpy() for name, one in found.items() if one is not None and name.endswith("_quantized")}
    matrices = {name: array for name, array in weights.items() if array.ndim > 1}
    assert len(matrices) >= 5
    extra = 2 if share.method == "kmeans" else 0  # the largest of each output
    assert all(len(np.unique(array)) <= share.values(np.ones(1), share.bits) + extra for array in matrices.values())


def test_int8_stands_for_the_values_that_were_shared() -> None:
    """Catches integers of another scale than that of their row."""
    pressed = press(target="x86-vnni").ship()
    assert pressed.shared is not None
    assert pressed.quantized is not None
    stored = {name: one.const_value for name, one in pressed.quantized.graph.initializers.items()}
    integer = [one for one in weighted_layers(pressed.shared)[0] if f"{one.weight.name}_quantized" in stored]
    assert len(integer) >= 4
    for layer in integer:
        integers, scales = (stored[f"{layer.weight.name}_{part}"] for part in ("quantized", "scale"))
        assert integers is not None
        assert scales is not None
        axis = 1 if layer.transposed else 0
        by_channel = scales.numpy().reshape([-1 if one == axis else 1 for one in range(len(integers.shape))])
        expected = np.array(initializer(pressed.shared, layer.weight))
        np.testing.assert_allclose(integers.numpy() * by_channel, expected, rtol=1e-6)
