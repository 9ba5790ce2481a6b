import itertools
import tracemalloc
from fractions import Fraction

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import pytest
from numpy.typing import NDArray

from foldpress.data import Dataset, Indices
from foldpress.errors import GraphError
from foldpress.graph import serialize
from foldpress.optimizer.histogram import BINS, Histograms, HistogramStatistics, collect_histograms
from foldpress.optimizer.static_int8 import tensors_to_calibrate
from foldpress.optimizer.statistics import collect_ranges

pytest_plugins = ["trained"]

ONE_TENSOR = (
    '<ir_version: 9, opset_import: ["" : 18]> g (float[N, {width}] x) => (float[N, {width}] y) {{ y = Relu(x) }}'
)
TRANSPOSED = """<ir_version: 9, opset_import: ["" : 18]> g (float[N, 3] x) => (float[N, 3] y) {
    t = Transpose <perm = [1, 0]> (x)
    r = Relu(t)
    y = Transpose <perm = [1, 0]> (r)
}"""


def graph(text: str) -> ir.Model:
    model: ir.Model = ir.from_proto(onnx.shape_inference.infer_shapes(onnx.parser.parse_model(text)))
    return model


def one_fold(count: int) -> Indices:
    return np.zeros((1, count), np.intp)


def collect(rows: NDArray[np.float32], numbers: Indices | None = None) -> HistogramStatistics:
    """Statistics of the rows themselves, [N, V]."""
    model = graph(ONE_TENSOR.format(width=rows.shape[1]))
    return collect_histograms(model, ["x"], Dataset({"x": rows}), one_fold(len(rows)) if numbers is None else numbers)


def exact_counts(values: NDArray[np.float32], edges: NDArray[np.float64]) -> list[int]:
    """The slow, obvious way: each value as an exact fraction, divided by the width of a bin."""
    counts = [0] * BINS
    for value in values.ravel().tolist():
        counts[(Fraction(value) - Fraction(edges[0])) // (Fraction(edges[1]) - Fraction(edges[0]))] += 1
    return counts


def same(one: Histograms, other: Histograms) -> bool:
    return (
        one.counts.tobytes() == other.counts.tobytes()
        and one.ranges.minimum.tobytes() == other.ranges.minimum.tobytes()
        and one.ranges.maximum.tobytes() == other.ranges.maximum.tobytes()
    )


def spreads() -> dict[str, NDArray[np.float32]]:
    """Values that grow, change their sign late, or sit on the borders of bins, [N, V]."""
    generator = np.random.default_rng(0)
    growing = generator.normal(size=(37, 20)) * np.geomspace(1e-6, 1e6, 37)[:, None]
    late = np.abs(growing)
    late[-1, 0] = -1e-30
    return {
        name: np.asarray(values, np.float32)
        for name, values in {
            "growing": growing,
            "shrinking": growing[::-1],
            "never negative": np.abs(growing),
            "negative at last": late,
            "negative only": -np.abs(growing) - 1e-3,
            "constant": np.full((11, 4), 0.3),
            "all zero": np.zeros((11, 4)),
            "powers of two": np.ldexp(1.0, generator.integers(-8, 8, (11, 6))) * generator.choice([-1, 1], (11, 6)),
            "huge and tiny": np.array([[3e38, -1e-38], [1e-38, 0], [1.0, -1.0]]),
        }.items()
    }


@pytest.mark.parametrize("name", spreads())
def test_every_value_lies_in_its_bin(name: str) -> None:
    """Catches: values moved to a neighbouring bin by rounding, by a range that grew, or by a sign that appeared late."""
    rows = spreads()[name]
    found = collect(rows).all()
    edges = found.edges(0)
    assert edges[0] <= rows.min()
    assert rows.max() < edges[-1]
    assert found.counts[0].tolist() == exact_counts(rows, edges)
    assert found.counts.sum() == rows.size


@pytest.mark.parametrize("name", spreads())
def test_merging_in_any_order_is_bit_identical(name: str) -> None:
    """Catches: a merge that depends on which side is wider, or on who comes first."""
    rows = spreads()[name]
    parts = [collect(rows[start::3]).all() for start in range(3)]
    whole = collect(rows).all()
    for a, b, c in itertools.permutations(parts):
        assert same(a.merge(b).merge(c), whole)
        assert same(a.merge(b.merge(c)), whole)


@pytest.mark.parametrize("name", [name for name, rows in spreads().items() if len(rows) > 10])
def test_leaving_a_fold_out_equals_collecting_without_it(name: str) -> None:
    """Catches: a grid that remembers the fold that was left out; a batch whose rows go to the wrong fold."""
    rows = spreads()[name]
    numbers = np.stack([np.arange(len(rows)) % 3, np.arange(len(rows)) * 3 // len(rows)])
    statistics = collect(rows, numbers)
    for repeat, fold in itertools.product(range(2), range(3)):
        assert same(statistics.without(fold, repeat), collect(rows[numbers[repeat] != fold]).all())


def test_a_whole_network_in_ragged_batches(digits_graph: ir.Model, digits_data: Dataset) -> None:
    """Catches: samples that fill up the last batch being counted; statistics that depend on a sample's batch."""
    data = digits_data.renamed({"x": digits_graph.graph.inputs[0].name or ""}).select(np.arange(43))
    names, numbers = tensors_to_calibrate(digits_graph), np.arange(43)[None] % 5
    before = serialize(digits_graph)
    statistics = collect_histograms(digits_graph, names, data, numbers)
    assert serialize(digits_graph) == before
    for fold in range(5):
        rest = np.flatnonzero(numbers[0] != fold)
        assert same(
            statistics.without(fold),
            collect_histograms(digits_graph, names, data.select(rest), one_fold(len(rest))).all(),
        )
    images = statistics.all().counts[names.index(str(digits_graph.graph.inputs[0].name))]
    assert images.sum() == 43 * 64
    extremes = collect_ranges(digits_graph, names, data, numbers).all()
    np.testing.assert_allclose(statistics.all().ranges.minimum, extremes.minimum, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(statistics.all().ranges.maximum, extremes.maximum, rtol=1e-5, atol=1e-6)


def test_tensors_without_the_sample_axis_in_front() -> None:
    """Catches: taking another axis for the samples."""
    data = Dataset({"x": np.array([[1, -2, 3], [4, 5, -6]], np.float32)})
    statistics = collect_histograms(graph(TRANSPOSED), ["t"], data, np.array([[0, 1]]))
    for left_out, values in ((1, [1, -2, 3]), (0, [4, 5, -6])):
        found = statistics.without(left_out)
        assert found.counts[0].tolist() == exact_counts(np.array(values, np.float32), found.edges(0))


@pytest.mark.parametrize("wrong", [np.inf, -np.inf, np.nan])
def test_what_is_not_finite_is_refused_where_it_is_used(wrong: float) -> None:
    """Catches: an infinity that widens every bin to nothing; a fold refused for another fold's overflow."""
    statistics = collect(np.array([[1.0], [wrong], [2.0]], np.float32), np.array([[0, 1, 0]]))
    with pytest.raises(GraphError, match="no finite range for x"):
        statistics.all()
    assert statistics.without(1).counts.sum() == 2


def test_memory_does_not_grow_with_the_samples() -> None:
    """Catches: activations kept until the end."""

    def peak(count: int) -> int:
        rows = np.ones((count, 4096), np.float32)
        tracemalloc.start()
        collect(rows)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(8)  # what the first call loads
    assert peak(400) < 1.2 * peak(128)
