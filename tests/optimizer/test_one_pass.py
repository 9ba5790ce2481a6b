"""One pass over the data gives what a pass for each statistic gives."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from depthwise import network, samples
from foldpress.data import Indices
from foldpress.optimizer import activations
from foldpress.optimizer.gram import GramAccumulator
from foldpress.optimizer.histogram import HistogramAccumulator
from foldpress.optimizer.layers import weighted_layers
from foldpress.optimizer.means import MeanAccumulator
from foldpress.optimizer.one_pass import Accumulator, accumulate, fold_by_fold, joined_folds
from foldpress.optimizer.static_int8 import tensors_to_calibrate
from foldpress.optimizer.statistics import RangeAccumulator

NUMBERS = np.stack([np.arange(60) % 4, np.arange(60) // 20])
MODEL = network()
TENSORS = tensors_to_calibrate(MODEL)


class Reader:
    """Reads tensors, and forgets them."""

    def __init__(self, tensors: Sequence[str]) -> None:
        self.tensors = tensors

    def add(self, _tensor: str, _position: Indices, _values: NDArray[np.float32]) -> None:
        pass

    def statistics(self) -> None:
        pass


def all_kinds() -> list[Accumulator]:
    layers, _ = weighted_layers(MODEL)
    return [
        RangeAccumulator(TENSORS, NUMBERS),
        HistogramAccumulator(TENSORS, NUMBERS),
        GramAccumulator([layer.slot for layer in layers], NUMBERS),
        MeanAccumulator(layers, NUMBERS),
    ]


def content(accumulators: Sequence[Accumulator]) -> list[bytes]:
    """The bytes of everything that four accumulators came to."""
    ranges, histograms, grams, means = (one.statistics() for one in accumulators)
    exact = [array for one in (ranges, histograms.ranges) for array in (one.minimum, one.maximum)]
    sums = [*grams.grams.values(), *means.sums.values()]
    assert len(sums) == 2 * 6
    assert all(np.abs(array).sum() > 0 for array in (*exact, *sums))
    return [array.tobytes() for array in (*exact, histograms.counts, *sums, means.samples)]


def test_one_pass_gives_what_a_pass_for_each_gives_bit_for_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches: an accumulator that changes the values that the next one gets, or an order that suits one of them only."""
    passes: list[int] = []
    plain = activations._observe_group

    def counted(*arguments: Any) -> Any:
        passes.append(1)
        return plain(*arguments)

    monkeypatch.setattr(activations, "_observe_group", counted)
    together, apart = all_kinds(), all_kinds()
    accumulate(MODEL, together, samples(), NUMBERS)
    assert len(passes) == 1
    for one in apart:
        accumulate(MODEL, [one, Reader(TENSORS)], samples(), NUMBERS)
    assert len(passes) == 5
    assert content(together) == content(apart)


def test_a_pass_for_each_tensor_gives_the_same_bit_for_bit() -> None:
    """Catches: a statistic that needs two tensors at once, or takes their order for granted."""
    together, apart = all_kinds(), all_kinds()
    accumulate(MODEL, together, samples(), NUMBERS, batch_bytes=1)  # one sample at a time, as where there is no memory
    accumulate(MODEL, apart, samples(), NUMBERS, budget=1)
    assert content(together) == content(apart)


def test_a_tensor_that_is_named_twice_is_added_once() -> None:
    """Catches: samples that count twice where two layers read one tensor."""
    name = TENSORS[0]
    once, twice = HistogramAccumulator([name], NUMBERS), HistogramAccumulator([name], NUMBERS)
    accumulate(MODEL, [once], samples(), NUMBERS)
    twice.tensors = (name, name)
    accumulate(MODEL, [twice], samples(), NUMBERS)
    np.testing.assert_array_equal(once.statistics().counts, twice.statistics().counts)


def test_the_samples_of_a_fold_come_one_after_the_other() -> None:
    """Catches: batches that mix folds more than need be."""
    folds = NUMBERS[:, fold_by_fold(NUMBERS)]
    pairs = list(map(tuple, folds.T))
    assert pairs == sorted(pairs)


def test_nothing_to_read_is_no_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches: a pass over the data for nothing."""
    passes: list[object] = []

    def observed(*given: object, **_: object) -> list[object]:
        passes.append(given)
        return []

    monkeypatch.setattr("foldpress.optimizer.one_pass.observe", observed)
    for tensors, expected in (([], 0), (TENSORS[:1], 1)):
        accumulate(MODEL, [HistogramAccumulator(tensors, NUMBERS)], samples(), NUMBERS)
        assert len(passes) == expected


def test_folds_are_summed_by_number() -> None:
    """Catches: folds that only one part has, lost or added to others; a part that is changed."""
    few, many = np.ones((2, 1, 3)), np.full((2, 3, 3), 5.0)
    for total in (joined_folds(few, many), joined_folds(many, few)):
        assert total[:, :, 0].tolist() == [[6, 5, 5], [6, 5, 5]]
    assert many[0, 0, 0] == 5
