from typing import get_args

import numpy as np
import onnx_ir as ir
import pytest
from numpy.typing import NDArray
from scipy.stats import entropy

from foldpress.data import Dataset
from foldpress.errors import RequestError
from foldpress.optimizer.histogram import BINS, Histograms, HistogramStatistics
from foldpress.optimizer.press import Press
from foldpress.optimizer.ranges import (
    METHODS,
    Method,
    Spread,
    choose_method,
    choose_ranges,
    entropy_range,
    mse_range,
    percentile_range,
    spread,
)
from foldpress.optimizer.statistics import Ranges, RangeStatistics
from foldpress.optimizer.targets import TARGETS

pytest_plugins = ["trained"]

Values = NDArray[np.float32]


def histogram(*tensors: Values) -> Histograms:
    """Histograms of given values, counted by numpy on the grid that the histograms say they have."""
    names = tuple(f"t{i}" for i in range(len(tensors)))
    low, high = (np.array([f(values) for values in tensors], np.float32) for f in (np.min, np.max))
    empty = Histograms(Ranges(names, low, high), np.zeros((len(tensors), BINS), np.int64))
    counts = np.stack([np.histogram(values, empty.edges(i))[0] for i, values in enumerate(tensors)])
    return Histograms(empty.ranges, counts)


def spread_of(values: Values, *, symmetric: bool = False) -> Spread:
    return spread(histogram(values), 0, symmetric=symmetric)


def width(found: Spread) -> float:
    return float(found.edges[1] - found.edges[0])


def raw_error(values: Values, low: float, high: float, *, symmetric: bool) -> float:
    """Squared error of 8 bits, value by value, as the QuantizeLinear operator is defined."""
    if symmetric:
        scale, zero, first, last = max(-low, high) / 127, 0, -127, 127
    else:
        scale, first, last = (high - low) / 255, 0, 255
        zero = round(-low / scale)
    levels = np.clip(np.round(values.astype(np.float64) / scale) + zero, first, last)
    return float((((levels - zero) * scale - values) ** 2).mean())


def shapes() -> dict[str, Values]:
    generator = np.random.default_rng(0)
    normal = generator.normal(size=50_000)
    tailed = generator.standard_t(3, 50_000)
    return {
        name: values.astype(np.float32)
        for name, values in {
            "normal": normal,
            "tailed": tailed,
            "after ReLU": np.maximum(tailed, 0),
            "skewed": np.where(tailed < 0, 0.1 * tailed, tailed),
            "negative only": -np.abs(tailed) - 0.01,
            "uniform": generator.uniform(-1, 1, 50_000),
            "one outlier": np.append(normal, 60),
        }.items()
    }


@pytest.mark.parametrize("covered", [0.99, 0.9999])
@pytest.mark.parametrize("name", shapes())
def test_percentiles_agree_with_the_raw_values(name: str, covered: float) -> None:
    """Catches: a cut that is twice or half as deep as asked for, or taken at one end only; an edge off by one bin."""
    values = shapes()[name]
    found = spread_of(values)
    low, high = percentile_range(found, covered)
    lowest, highest = np.quantile(
        values.astype(np.float64), [(1 - covered) / 2, (1 + covered) / 2], method="inverted_cdf"
    )
    assert abs(low - min(lowest, 0)) <= width(found)
    assert abs(high - max(highest, 0)) <= width(found)


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("name", shapes())
def test_the_predicted_error_is_that_of_the_raw_values(name: str, symmetric: bool) -> None:
    """Catches: rounding with another zero point or another number of levels than int8 has."""
    values = shapes()[name]
    found = spread_of(values, symmetric=symmetric)
    for share in (1.0, 0.7, 0.4):
        chosen = found.low * share, found.high * share
        assert found.error_of(chosen) == pytest.approx(raw_error(values, *chosen, symmetric=symmetric), rel=0.1)


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("name", shapes())
def test_mse_is_as_good_as_a_search_over_all_pairs_of_ends(name: str, symmetric: bool) -> None:
    """Catches: one end left alone; a search that stops in a poor place."""
    values = shapes()[name]
    found = spread_of(values, symmetric=symmetric)
    chosen = raw_error(values, *mse_range(found), symmetric=symmetric)
    shares = np.arange(1, 26) / 25
    pairs = [(a * found.low, b * found.high) for a in shares for b in shares]
    best = min(raw_error(values, *pair, symmetric=symmetric) for pair in pairs if pair[0] < pair[1])
    assert chosen <= 1.1 * best  # the histogram knows a value to within its bin
    coarse = min(found.error_of(pair) for pair in pairs if pair[0] < pair[1])
    assert found.error_of(mse_range(found)) <= 1.01 * coarse


def slow_entropy(found: Spread, levels: int) -> tuple[float, float]:
    """KL divergence candidate by candidate and level by level, with scipy."""
    zero = int(np.searchsorted(found.edges, 0))
    counts = found.counts.astype(float)
    if zero < BINS:
        counts[zero] = min(counts[zero], max(counts[i] for i in (zero - 1, zero + 1) if 0 <= i < BINS))
    low, high = found.low, found.high
    if found.symmetric and low:
        high = max(-low, high)
        low = -high
    best, chosen = np.inf, (found.low, found.high)
    for share in np.arange(1, 101) / 100:
        first = max(zero - int(np.ceil(-low * share / width(found))), 0)
        last = min(zero + int(np.ceil(high * share / width(found))), BINS)
        if last - first < levels:
            continue
        kept = counts[first:last]
        clipped = kept.copy()
        if not kept.any():
            continue
        seen = np.flatnonzero(kept)
        clipped[seen[0]] += counts[:first].sum()
        clipped[seen[-1]] += counts[last:].sum()
        restored = np.zeros_like(kept)
        for level in range(levels):
            a, b = (last - first) * level // levels, (last - first) * (level + 1) // levels
            occupied = clipped[a:b] > 0
            restored[a:b][occupied] = kept[a:b].sum() / max(occupied.sum(), 1)
        divergence = entropy(clipped, restored)
        if divergence <= best + 1e-12:
            best, chosen = divergence, (found.edges[first], found.edges[last])
    return chosen


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("name", shapes())
def test_entropy_chooses_what_the_divergence_written_out_chooses(name: str, symmetric: bool) -> None:
    """Catches: a divergence that is not KL (onnxruntime's default offers one candidate), clipped values left out of P."""
    found = spread_of(shapes()[name], symmetric=symmetric)
    levels = 128 if symmetric and not found.low else 256
    low, high = slow_entropy(found, levels)
    assert entropy_range(found) == pytest.approx((max(low, found.low), min(high, found.high)), abs=width(found) / 2)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("value", [0.0, 0.3, -0.3, 1e-30, 3e38])
def test_a_constant_tensor_keeps_its_value(value: float, symmetric: bool, method: str) -> None:
    """Catches: a range of no width, one without 0, one that clips the only value there is."""
    found = histogram(np.full(100, value, np.float32), np.zeros(3, np.float32))
    ranges, _ = choose_ranges(found, choose_method(method) if method in get_args(Method) else method,
                              TARGETS["arm" if symmetric else "x86-vnni"])  # fmt: skip
    assert ranges.minimum[0] <= 0 <= ranges.maximum[0]
    assert (ranges.minimum[1], ranges.maximum[1]) == (0, 0)
    assert max(-ranges.minimum[0], ranges.maximum[0]) == pytest.approx(abs(value), rel=0.01)


@pytest.mark.parametrize("target", ["x86-vnni", "arm"])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", shapes())
def test_a_range_holds_zero_and_lies_within_the_extremes(name: str, method: str, target: str) -> None:
    """Catches: zero, which padding and ReLU leave, without an integer of its own; a range wider than the data."""
    values = shapes()[name]
    ranges, _ = choose_ranges(histogram(values), method, TARGETS[target])
    assert min(values.min(), 0) <= ranges.minimum[0] <= 0 <= ranges.maximum[0] <= max(values.max(), 0)


def test_the_least_error_is_the_least_of_all_methods() -> None:
    """Catches: a choice by another measure than its name says."""
    for values in shapes().values():
        found = spread_of(values)
        errors = {name: found.error_of(method(found)) for name, method in METHODS.items()}
        assert errors["least-error"] == min(errors.values())


@pytest.mark.parametrize("method", ["percentile", "entropy", "mse"])
def test_an_outlier_is_clipped_but_not_in_an_output(method: str) -> None:
    """Catches: one value in 50 million taking the levels of all others; scores that are clipped and tie."""
    values = shapes()["one outlier"]
    found = histogram(values, values)
    found.counts[found.counts > 1] *= 1000  # one in 50 million: below any method's attention
    ranges, entry = choose_ranges(found, method, TARGETS["x86-vnni"], frozenset({"t1"}))
    assert ranges.maximum[0] < 50
    assert ranges.maximum[1] == 60
    assert entry.detail == f"{method}; 1 of 2 clipped"


def test_an_unknown_method_is_refused() -> None:
    """Catches: a misspelt method taken for the default."""
    with pytest.raises(RequestError, match="there is no calibration method 'median'"):
        choose_method("median")


def test_auto_is_what_the_measurements_say() -> None:
    """Catches: a default that differs from the one that docs/measurements.md gives the reason for."""
    found = histogram(shapes()["normal"])
    for target, expected in (("x86-vnni", "mse"), ("arm", "percentile")):
        ranges, entry = choose_ranges(found, "auto", TARGETS[target])
        same, _ = choose_ranges(found, expected, TARGETS[target])
        assert (ranges.minimum[0], ranges.maximum[0]) == (same.minimum[0], same.maximum[0])
        assert entry.detail.startswith(f"auto: {expected}")


def test_folds_choose_for_themselves() -> None:
    """Catches: a range chosen with the fold that it is judged on."""
    low, high = np.array([[[0], [0]]], np.float32), np.array([[[1], [4]]], np.float32)
    counts = np.zeros((1, 2, 1, BINS), np.int64)
    counts[0, :, 0, :1024] = 1  # [0, 1) of a grid up to 2, and [0, 4) of one up to 8
    statistics = HistogramStatistics(RangeStatistics(("x",), low, high), counts)
    for fold, largest in ((0, 4), (1, 1)):
        ranges, _ = choose_ranges(statistics.without(fold), "percentile", TARGETS["x86-vnni"])
        assert ranges.maximum[0] == pytest.approx(largest, rel=0.01)


@pytest.mark.parametrize("method", get_args(Method))
def test_a_trained_network_stays_right(digits_graph: ir.Model, digits_data: Dataset, method: Method) -> None:
    """Catches: ranges that reach the wrong tensors; a log that does not say which method was used."""
    from foldpress.graph import serialize
    from foldpress.runtime import open_session, predict

    data = digits_data.renamed({"x": digits_graph.graph.inputs[0].name or ""})
    seen = data.select(np.arange(100))
    press = Press(digits_graph, seen, np.arange(100)[None] % 2, prune=None, target=TARGETS["x86-vnni"], ranges=method)
    pressed = press.without(0)
    assert pressed.quantized is not None
    assert any(entry.pass_name == "calibration" and method in entry.detail for entry in pressed.log)
    expected, found = (
        predict(open_session(serialize(one)), data, 50)[0].argmax(1) for one in (digits_graph, pressed.quantized)
    )
    assert (expected != found).mean() < 0.01
