from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import pytest

from foldpress.data import Array, Dataset
from foldpress.errors import GraphError
from foldpress.graph import serialize
from foldpress.optimizer import activations
from foldpress.optimizer.activations import observe
from foldpress.optimizer.histogram import HistogramStatistics, collect_histograms
from foldpress.optimizer.press import Press
from foldpress.optimizer.ranges import METHODS
from foldpress.optimizer.static_int8 import tensors_to_calibrate
from foldpress.optimizer.statistics import RangeStatistics, collect_ranges
from foldpress.optimizer.targets import TARGETS
from foldpress.progress import listening
from foldpress.runtime import fetch, open_session

pytest_plugins = ["trained"]

RNG = np.random.default_rng(0)


def graph(text: str, **weights: Array) -> ir.Model:
    """A graph from ONNX text of opset 18, with stored weights and inferred shapes."""
    proto = onnx.parser.parse_model(f'<ir_version: 9, opset_import: ["" : 18]> g {text}')
    proto.graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in weights.items())
    model: ir.Model = ir.from_proto(onnx.shape_inference.infer_shapes(proto))
    return model


def wide(depth: int = 6, channels: int = 32) -> ir.Model:
    """Residual blocks, of which onnxruntime fuses each into one operator where nobody reads the values between."""
    lines, weights = ["h0 = Conv<pads = [1, 1, 1, 1]> (x, w)"], {}
    weights["w"] = RNG.normal(size=(channels, 3, 3, 3)).astype(np.float32)
    for i in range(depth):
        weights[f"w{i}"] = RNG.normal(scale=0.06, size=(channels, channels, 3, 3)).astype(np.float32)
        lines.append(f"c{i} = Conv<pads = [1, 1, 1, 1]> (h{i}, w{i})  a{i} = Add (c{i}, h{i})  h{i + 1} = Relu (a{i})")
    body = "\n".join([*lines, f"y = GlobalAveragePool (h{depth})"])
    return graph(f"(float[N, 3, 16, 16] x) => (float[N, {channels}, 1, 1] y) {{ {body} }}", **weights)


def all_bytes(statistics: RangeStatistics | HistogramStatistics) -> list[bytes]:
    if isinstance(statistics, HistogramStatistics):
        return [*all_bytes(statistics.ranges), statistics.counts.tobytes()]
    return [statistics.minimum.tobytes(), statistics.maximum.tobytes()]


class Labels:
    """A listener that only remembers what it was told."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def begin(self, label: str, total: int) -> None:
        self.seen.append(label)

    def advance(self) -> None:
        pass

    def end(self) -> None:
        pass


@pytest.mark.parametrize("collect", [collect_ranges, collect_histograms])
def test_groups_of_tensors_give_the_same_statistics_bit_for_bit(collect: Callable[..., Any]) -> None:
    """Catches: operators that are fused in one pass and not in another, and so round differently."""
    model, data = wide(), Dataset({"x": RNG.normal(size=(11, 3, 16, 16)).astype(np.float32)})
    names, numbers = tensors_to_calibrate(model), np.arange(11)[None] % 3
    one_sample = sum(activations._bytes_of_a_sample(model, names, data))
    together, apart = Labels(), Labels()
    with listening(together):
        # one sample at a time in both: kernels differ in their last bits between batch sizes
        whole = collect(model, names, data, numbers, budget=one_sample)
    with listening(apart):
        grouped = collect(model, names, data, numbers, budget=one_sample // 5)
    assert together.seen == ["calibrating"]
    assert len(apart.seen) > 4
    assert apart.seen[0] == f"calibrating, part 1 of {len(apart.seen)}"
    assert all_bytes(whole) == all_bytes(grouped)


def test_a_graph_fused_otherwise_would_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches: the test above passing for a graph on which fusion changes nothing."""
    model, data = wide(), Dataset({"x": RNG.normal(size=(11, 3, 16, 16)).astype(np.float32)})
    names = tensors_to_calibrate(model)
    one_sample = sum(activations._bytes_of_a_sample(model, names, data))
    whole = collect_ranges(model, names, data, np.zeros((1, 11), np.intp), budget=one_sample)
    unread = activations._open
    monkeypatch.setattr(activations, "_bytes_of_a_sample", lambda *_: [one_sample // len(names)] * len(names))
    monkeypatch.setattr(activations, "_open", lambda model, fetched, read: unread(model, fetched, []))
    grouped = collect_ranges(model, names, data, np.zeros((1, 11), np.intp), budget=one_sample // 5)
    assert all_bytes(whole) != all_bytes(grouped)


@pytest.mark.parametrize("share", [100, 2, 0.3, 0.05])
def test_what_is_fetched_at_once_stays_within_the_budget(share: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches: a batch or a group that is too large, a tensor or a sample that is left out or comes twice."""
    model, data = wide(), Dataset({"x": RNG.normal(size=(11, 3, 16, 16)).astype(np.float32)})
    names = tensors_to_calibrate(model)
    sizes = activations._bytes_of_a_sample(model, names, data)
    budget = int(share * sum(sizes))
    fetched = []
    plain = fetch

    def recorded(*arguments: Any) -> list[Array]:
        found = plain(*arguments)
        fetched.append(sum(array.nbytes for array in found))
        return found

    monkeypatch.setattr(activations, "fetch", recorded)
    seen = np.zeros((len(names), 11), int)
    for tensor, position, values in observe(model, names, data, np.arange(11), budget=budget):
        assert values.nbytes == len(position) * sizes[tensor]
        seen[tensor, position] += 1
    assert (seen == 1).all()
    assert max(fetched) <= max(budget, max(sizes))


def test_an_axis_that_only_the_data_knows() -> None:
    """Catches: sizes taken from shapes that leave an axis open; samples mixed up along it."""
    model = graph("(float[N, L, 2] x) => (float[N, K, 2] y) { r = Relu(x)  y = Concat<axis = 1> (r, x) }")
    x = RNG.normal(size=(5, 7, 2)).astype(np.float32)
    found = collect_histograms(model, ["x", "r", "y"], Dataset({"x": x}), np.zeros((1, 5), np.intp), budget=2 * 4 * 56)
    assert found.all().counts.sum(1).tolist() == [70, 70, 140]
    assert found.all().ranges.minimum.tolist() == [x.min(), 0, x.min()]


def test_several_inputs() -> None:
    """Catches: an input's values taken for another's."""
    model = graph("(float[N, 3] a, float[N, 2] b) => (float[N, 5] y) { y = Concat<axis = 1> (a, b) }")
    data = Dataset({"a": np.full((9, 3), 2, np.float32), "b": np.full((9, 2), -3, np.float32)})
    ranges = collect_ranges(model, ["b", "a", "y"], data, np.zeros((1, 9), np.intp)).all()
    assert ranges.minimum.tolist() == [-3, 2, -3]
    assert ranges.maximum.tolist() == [-3, 2, 2]


def test_samples_that_are_mixed_up_are_refused() -> None:
    """Catches: a shape that promises one row a sample, where the graph joins them."""
    model = graph("(float[N, 2] x) => (float[N, 2] y) { s = Constant<value_ints = [1, -1]> ()  y = Reshape(x, s) }")
    next(value for value in model.graph.outputs).shape = ir.Shape(["N", 2])
    with pytest.raises(GraphError, match=r"tensor y is \[1, 128\] for 64 samples"):
        collect_ranges(model, ["y"], Dataset({"x": np.ones((8, 2), np.float32)}), np.zeros((1, 8), np.intp))


ODD = """(float[N, 3, 4, 4] x) => (float[N, 4, 4, 4] y) {
    from_here = Constant<value_ints = [0]> ()  channels = Constant<value_ints = [1]> ()
    none = Slice (x, from_here, from_here, channels)
    all = Concat<axis = 1> (x, none)
    [first] c = Conv (all, w, b)
    [still] z = Conv (c, still, one)
    y = Add (c, z)
}"""


@pytest.mark.parametrize("target", ["x86-vnni", "arm"])
@pytest.mark.parametrize("method", [*METHODS])
def test_empty_and_constant_tensors_and_channels_of_zeros(method: Any, target: str) -> None:
    """Catches: an empty tensor taken for one that overflows, scales of 0 or NaN for what never moves."""
    weight = RNG.normal(size=(4, 3, 1, 1)).astype(np.float32)
    weight[1] = 0
    model = graph(
        ODD, w=weight, b=np.zeros(4, np.float32), still=np.zeros((4, 4, 1, 1), np.float32), one=np.ones(4, np.float32)
    )
    data = Dataset({"x": RNG.normal(size=(20, 3, 4, 4)).astype(np.float32)})
    press = Press(model, data, np.arange(20)[None] % 2, prune=None, target=TARGETS[target], ranges=method)
    quantized = press.without(1).quantized
    assert quantized is not None
    sessions = [open_session(serialize(one)) for one in (model, quantized)]
    before, after = (session.run(None, data.batch(slice(None)))[0] for session in sessions)
    assert np.abs(before - after).mean() < 0.1 * np.abs(before).mean()
    assert np.abs(after[:, 1] - 1).max() < 0.05


def test_the_range_of_an_empty_tensor_is_zero() -> None:
    """Catches: the minimum of nothing, infinity, taken for a value."""
    model = graph(
        """(float[N, 2] x) => (float[N, 2] y) {
        from_here = Constant<value_ints = [0]> ()  axis = Constant<value_ints = [1]> ()
        none = Slice (x, from_here, from_here, axis)  y = Concat<axis = 1> (x, none) }"""
    )
    data = Dataset({"x": np.ones((3, 2), np.float32)})
    found = collect_histograms(model, ["none", "y"], data, np.arange(3)[None])
    merged = found.without(2)
    assert (merged.ranges.minimum.tolist(), merged.ranges.maximum.tolist()) == ([0, 1], [0, 1])
    assert merged.counts.sum(1).tolist() == [0, 4]


def test_zero_has_one_sign() -> None:
    """Catches: statistics whose bytes depend on whether −0 or 0 came first."""
    model = graph("(float[N, 2] x) => (float[N, 2] y) { y = Identity(x) }")
    for row in ([0.0, -0.0], [-0.0, 0.0]):
        found = collect_ranges(model, ["x"], Dataset({"x": np.array([row], np.float32)}), np.zeros((1, 1), np.intp))
        assert not np.signbit([found.minimum, found.maximum]).any()
