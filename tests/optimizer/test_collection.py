"""What is collected for static int8, and that a fold that is left out has no part in it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from depthwise import network, samples
from foldpress.optimizer.collection import Collection
from foldpress.optimizer.histogram import Histograms
from foldpress.optimizer.one_pass import Accumulator, accumulate
from foldpress.optimizer.press import Press
from foldpress.optimizer.static_int8 import tensors_to_calibrate
from foldpress.optimizer.targets import TARGETS
from foldpress.weight_passes import WeightPass

EVERY: tuple[WeightPass, ...] = ("equalization", "smooth", "gptq", "bias-correction")
NUMBERS = np.stack([np.arange(60) % 4, np.arange(60) // 20])


@pytest.mark.parametrize(
    ("passes", "grams", "means", "channels"),
    [((), 0, 0, 0), (("bias-correction",), 0, 6, 0), (("gptq",), 6, 0, 0), (EVERY, 6, 6, 32)],
)
def test_only_what_the_passes_need_is_collected(
    passes: tuple[WeightPass, ...], grams: int, means: int, channels: int
) -> None:
    """Catches: the price of Gram matrices or single channels where no pass reads them."""
    found = Collection(network(), samples(), NUMBERS, "ranges", passes).collect()
    assert (len(found.grams.grams), len(found.means.sums)) == (grams, means)
    parts = [name for name in found.ranges.tensors if "/channel" in name]
    assert len(parts) == channels
    whole = {name.split("/channel")[0] for name in found.ranges.tensors}
    assert whole == set(tensors_to_calibrate(network()))


@pytest.mark.parametrize(("repeat", "fold"), [(0, 2), (1, 0)])
def test_leaving_a_fold_out_is_collecting_without_it(repeat: int, fold: int) -> None:
    """Catches: the judged fold in any of the statistics that its graph is made from."""
    rest = np.flatnonzero(NUMBERS[repeat] != fold)
    without = Collection(network(), samples(), NUMBERS, "histograms", EVERY).collect().without(fold, repeat)
    alone = Collection(network(), samples().select(rest), NUMBERS[:1, rest] * 0, "histograms", EVERY).collect().all()
    assert isinstance(without.found, Histograms)
    assert isinstance(alone.found, Histograms)
    assert without.found.counts.tobytes() == alone.found.counts.tobytes()
    assert without.found.ranges.minimum.tobytes() == alone.found.ranges.minimum.tobytes()
    assert without.found.ranges.maximum.tobytes() == alone.found.ranges.maximum.tobytes()
    for ours, theirs in ((without.means, alone.means), (without.grams, alone.grams)):
        assert ours.keys() == theirs.keys()
        for name, wanted in theirs.items():
            # Gram matrices add up float32 products of a batch, of which the last bits depend on the batch.
            np.testing.assert_allclose(ours[name], wanted, rtol=1e-5, atol=1e-5 * np.abs(wanted).max())


def test_all_is_collected_in_one_pass_whatever_stays_float(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches: a pass for each statistic; a collection that depends on options that may change later."""
    seen: list[list[str]] = []

    def recorded(model: ir.Model, accumulators: Sequence[Accumulator], *others: Any, **options: Any) -> None:
        seen.append(sorted(name for one in accumulators for name in one.tensors))
        accumulate(model, accumulators, *others, **options)

    monkeypatch.setattr("foldpress.optimizer.collection.accumulate", recorded)
    for target, keep in (("arm", ()), ("x86-vnni", ("Gemm",))):
        press = Press(network(), samples(), NUMBERS, prune=None, target=TARGETS[target], keep_float=keep, weights=EVERY)
        press.collect()
    assert len(seen) == 2
    assert seen[0] == seen[1]
