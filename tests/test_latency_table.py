from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from foldpress import latency_table
from foldpress.benchmark.plan import LatencyPlan
from foldpress.data import Dataset
from foldpress.latency_cache import LatencyCache
from foldpress.latency_table import counts, falling, measure_table, time_graphs
from foldpress.optimizer.groups import find_groups
from foldpress.optimizer.press import Press
from foldpress.optimizer.prune import Prune
from foldpress.optimizer.targets import choose_target
from foldpress.precision import Precision
from topologies import Weights, graph

RNG = np.random.default_rng(0)
DATA = Dataset({"x": RNG.normal(size=(16, 6)).astype(np.float32)})


def network(wide: int = 32) -> ir.Model:
    """Two branches of equal shape, and a third."""
    body = """a = MatMul(x, wa) ra = Relu(a) pa = MatMul(ra, va)  b = MatMul(x, wb) rb = Relu(b) pb = MatMul(rb, vb)
              c = MatMul(x, wc) rc = Relu(c) pc = MatMul(rc, vc)  y = Concat<axis = 1>(pa, pb, pc)"""
    weights: Weights = {"wa": (6, 16), "va": (16, 5), "wb": (6, 16), "vb": (16, 5), "wc": (6, wide), "vc": (wide, 5)}
    return graph(body, weights, "float[N, 6]", "float[N, 15]")


def press(model: ir.Model, *, int8: bool = False, protect: tuple[str, ...] = ()) -> Press:
    target = choose_target("auto") if int8 else None
    prune = Prune("structured", latency=0.8, protect=protect)
    return Press(model, DATA, np.zeros((1, 16), np.intp), prune=prune, target=target)


class Clock:
    """Times graphs by the size of their first matrix, in steps of 8, and keeps what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[dict[str, ir.Model]] = []

    def __call__(self, graphs: dict[str, ir.Model], *_: object) -> dict[str, float]:
        self.asked.append(graphs)
        return {name: 1.0 + 8 * -(-_width(graph) // 8) for name, graph in graphs.items()}


def _width(graph: ir.Model) -> int:
    """The largest last axis of what is stored."""
    shapes = [value.shape.numpy() for value in graph.graph.initializers.values() if value.shape is not None]
    return max(int(shape[-1]) for shape in shapes if shape)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(latency_table, "time_graphs", made)
    return made


def table(pressing: Press, cache: LatencyCache) -> dict[str, dict[int, float]]:
    found = measure_table(pressing, DATA, LatencyPlan(), cache)
    return {name: dict(curve.milliseconds) for name, curve in found.latencies.curves.items()}


def test_only_counts_that_save_time_are_kept(clock: Clock, tmp_path: Path) -> None:
    """Catches: a width between two steps of a kernel."""
    found = table(press(network()), LatencyCache(LatencyPlan(), tmp_path))
    assert found["a"] == {16: 17.0, 8: 9.0}
    assert found["c"] == {32: 33.0, 24: 25.0, 16: 17.0, 8: 9.0}


def test_each_kind_of_layer_is_timed_once(clock: Clock, tmp_path: Path) -> None:
    """Catches: equal layers timed again, or again in the next run; another precision that takes over float32's times."""
    cache = LatencyCache(LatencyPlan(), tmp_path)
    first = table(press(network()), cache)
    assert len(clock.asked) == 3  # a and b together, c, the whole
    assert table(press(network()), cache) == first
    assert len(clock.asked) == 3
    table(press(network(wide=24)), cache)
    assert len(clock.asked) == 5
    table(press(network(), int8=True), cache)
    assert len(clock.asked) == 8
    assert {node.op_type for node in clock.asked[-1]["whole"].graph} >= {"QuantizeLinear"}


def test_a_damaged_cache_is_measured_anew(clock: Clock, tmp_path: Path) -> None:
    """Catches: a run that breaks, or widths chosen by what is left of a damaged file."""
    cache = LatencyCache(LatencyPlan(), tmp_path)
    first = table(press(network()), cache)
    cache.path.write_text(cache.path.read_text()[:-200])
    assert table(press(network()), cache) == first
    assert len(clock.asked) == 6


def test_protected_layers_are_not_timed(clock: Clock, tmp_path: Path) -> None:
    """Catches: time spent on layers that stay."""
    found = table(press(network(), protect=("a", "pc")), LatencyCache(LatencyPlan(), tmp_path))
    assert found.keys() == {"b"}


def test_falling_counts_against_a_slow_search() -> None:
    """Catches: a count kept that a larger one beats."""
    for _ in range(20):
        times = {count: float(RNG.uniform(1, 2)) for count in range(64, 0, -4)}
        kept = falling(times)
        expected = [
            count for count, time in times.items() if all(time < 0.99 * times[more] for more in kept if more > count)
        ]
        assert list(kept) == expected
        assert all(kept[count] == times[count] for count in kept)


@pytest.mark.parametrize(("wide", "expected"), [(32, range(32, 3, -4)), (256, range(256, 3, -16)), (30, range(30, 3, -4)), (3, [3])])  # fmt: skip
def test_counts_are_few(wide: int, expected: range) -> None:
    """Catches: hundreds of graphs for one wide layer; a layer without channels."""
    group = next(group for group in find_groups(network(wide))[0] if group.name == "c")
    assert counts(group) == list(expected)


def test_real_times_tell_large_from_small() -> None:
    """Catches: times that belong to another graph."""
    sizes = {"large": 4096, "small": 64}
    graphs = {name: graph("a = MatMul(x, w) y = MatMul(a, v)", {"w": (256, size), "v": (size, 5)}, "float[N, 256]", "float[N, 5]")
              for name, size in sizes.items()}  # fmt: skip
    data = Dataset({"x": RNG.normal(size=(8, 256)).astype(np.float32)})
    found = time_graphs(graphs, data, LatencyPlan(processes=1, seconds=0.2))
    assert found["large"] > 2 * found["small"] > 0


def test_what_a_precision_leaves_alone_is_timed_as_it_is(clock: Clock, tmp_path: Path) -> None:
    """Catches: a job that ends because dynamic int8 has nothing to do in a convolution."""
    body = "a = Conv(x, w) r = Relu(a) c = Conv(r, v) p = GlobalAveragePool(c) f = Flatten(p) y = MatMul(f, u)"
    weights: Weights = {"w": (8, 3, 1, 1), "v": (16, 8, 1, 1), "u": (16, 5)}
    model = graph(body, weights, "float[N, 3, 6, 6]", "float[N, 5]")
    data = Dataset({"x": RNG.normal(size=(16, 3, 6, 6)).astype(np.float32)})
    prune, precision = Prune("structured", latency=0.8), Precision("dynamic")
    numbers = np.zeros((1, 16), np.intp)
    pressing = Press(model, data, numbers, prune=prune, target=choose_target("auto"), precision=precision)
    found = measure_table(pressing, data, LatencyPlan(), LatencyCache(LatencyPlan(), tmp_path))
    assert found.latencies.curves.keys() == {"a", "c"}
