"""What lies behind a frontier, against both networks run as a whole."""

import os

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from foldpress.data import Dataset
from foldpress.graph import copy_graph
from foldpress.optimizer import frontier
from foldpress.optimizer.frontier import Frontier
from foldpress.optimizer.layers import Layer, weighted_layers
from foldpress.optimizer.press import Press
from foldpress.optimizer.prune import Prune
from foldpress.optimizer.side_by_side import original_name, side_by_side
from random_graphs import networks
from topologies import TOPOLOGIES, Topology, Weights, build, graph, samples

EXAMPLES = int(os.environ.get("FOLDPRESS_EXAMPLES", "40"))
COUNT = 5
CHAIN: tuple[str, Weights] = (
    """a = Conv<pads=[1,1,1,1]>(x, wa)  b = Relu(a)  c = Conv<pads=[1,1,1,1]>(b, wc)  d = Add(b, c)
    e = Conv<pads=[1,1,1,1]>(d, we)  f = Relu(e)  g = Conv<pads=[1,1,1,1]>(f, wg)  h = Add(d, g)  y = Conv(h, wy)""",
    {"wa": (8, 3, 3, 3), "wc": (8, 8, 3, 3), "we": (8, 8, 3, 3), "wg": (8, 8, 3, 3), "wy": (5, 8, 1, 1)},
)
TOKENS: tuple[str, Weights] = (
    """a = MatMul(x, wa)  n = LayerNormalization<axis=-1>(a, s, o)  q = MatMul(n, wq)  qh = Reshape(q, shape)
    qt = Transpose<perm=[0,2,3,1]>(qh)  vt = Transpose<perm=[0,2,1,3]>(qh)  p = MatMul(vt, qt)  m = Softmax<axis=-1>(p)
    r = MatMul(m, vt)  t = Transpose<perm=[0,2,1,3]>(r)  f = Reshape(t, shape2)  g = MatMul(f, wg)  h = Add(a, g)
    i = MatMul(h, wi)  j = Relu(i)  y = MatMul(j, wj)""",
    {"wa": (6, 8), "s": (8,), "o": (8,), "wq": (8, 8), "wg": (8, 8), "wi": (8, 16), "wj": (16, 5),
     "shape": (0, 0, 2, 4), "shape2": (0, 0, 8)},
)  # fmt: skip
RECURRENT: tuple[str, Weights] = (
    """a = MatMul(x, wa)  t = Transpose<perm=[1,0,2]>(a)  l, _l = LSTM<hidden_size=6>(t, w1, r1, b1)  k = Squeeze(l, axes)
    g, _g = GRU<hidden_size=6>(k, w2, r2, b2)  z = Squeeze(g, axes)  u = Transpose<perm=[1,0,2]>(z)  i = MatMul(u, wi)
    j = Relu(i)  y = MatMul(j, wj)""",
    {"wa": (6, 8), "w1": (1, 24, 8), "r1": (1, 24, 6), "b1": (1, 48), "w2": (1, 18, 6), "r2": (1, 18, 6), "b2": (1, 36),
     "wi": (6, 8), "wj": (8, 5), "axes": (1,)},
)  # fmt: skip


def step_by_step(model: ir.Model, layers: list[Layer]) -> list[tuple[str, ...]]:
    """Changes one layer after the other, as repair does, and compares all along the way; what was known at each layer."""
    changed, known = copy_graph(model), []
    data = Dataset(samples(model, 2 * COUNT)).select(np.arange(1, 2 * COUNT, 2))
    networks = whole = Frontier(model, changed, data)
    nodes = {str(node.name): node for node in changed.graph}
    for number, layer in enumerate(layers):
        left = [nodes[one.name] for one in layers[number:]]
        ends = [str(node.outputs[0].name) for node in left]
        wanted = [value for node in left for value in (node.inputs[0], node.outputs[0]) if value is not None]
        networks = networks.advanced(wanted, {one.name for one in layers[number:]})
        known.append(networks.known)
        tensors = [*dict.fromkeys([*(str(value.name) for value in wanted), *map(original_name, ends)])]
        for mine, right in zip(all_of(networks, tensors), all_of(whole, tensors), strict=True):
            np.testing.assert_allclose(mine, right, rtol=1e-4, atol=1e-5 * max(1, float(np.abs(right).max())))
        layer.store(changed, layer.matrices(changed) * -0.7)
    return known


def all_of(networks: Frontier, tensors: list[str]) -> list[np.ndarray]:
    """Every sample's values, one behind the other."""
    found: dict[int, list[np.ndarray]] = {}
    for number, _, values in networks.observe(tensors):
        found.setdefault(number, []).append(values)
    return [np.concatenate(found[number]) for number in range(len(tensors))]


@pytest.mark.parametrize("topology", TOPOLOGIES.values(), ids=TOPOLOGIES)
def test_nothing_behind_a_frontier_is_out_of_date(topology: Topology) -> None:
    """Catches: a tensor kept that a change still reaches; samples mixed up; one network's values taken for the other's."""
    model = build(topology)
    step_by_step(model, weighted_layers(model)[0])


@given(model=networks(), seed=st.integers(0, 2**16))
@settings(max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_it_holds_for_any_network(model: ir.Model, seed: int) -> None:
    """Catches: ways around a layer; a frontier that goes back; tensors that only a later layer needs, lost."""
    random = np.random.default_rng(seed)
    step_by_step(model, [layer for layer in weighted_layers(model)[0] if random.random() < 0.7])


def test_the_frontier_follows_the_layers() -> None:
    """Catches: all run again for each layer; tensors kept that nothing behind needs."""
    model = graph(*CHAIN)
    known = step_by_step(model, weighted_layers(model)[0])
    assert [set(names) for names in known] == [set(), {"b"}, {"d"}, {"d", "f"}, {"h"}]


def test_each_layer_is_run_with_its_neighbours_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches: a graph that computes what it is given; inputs that nothing reads any more."""
    model, made = graph(*CHAIN), []

    def recorded(*given: object) -> ir.Model:
        made.append(side_by_side(*given))  # type: ignore[arg-type]
        return made[-1]

    networks = Frontier(model, copy_graph(model), Dataset(samples(model, COUNT)))
    values = {str(node.name): node.outputs[0] for node in networks.changed.graph}
    ahead = networks.advanced([values["f"], values["g"]], {"g"})
    monkeypatch.setattr(frontier, "side_by_side", recorded)
    list(ahead.observe(["f", "g", original_name("g")]))
    assert sorted(str(node.name) for node in made[0].graph) == ["g", "original/g"]
    assert sorted(str(value.name) for value in made[0].graph.inputs) == ["f", "original/f"]


def test_what_would_take_too_much_memory_is_run_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches: a limit by one sample, or by one network; sizes that are not known before running taken for nothing, or for too much."""
    model = graph(*CHAIN)
    networks = Frontier(model, copy_graph(model), Dataset(samples(model, COUNT)))
    values = {str(node.name): node.outputs[0] for node in networks.changed.graph}
    needed = 2 * COUNT * 4 * 8 * 6 * 6  # both networks, samples, bytes, channels, height, width
    for shape in (values["b"].shape, ir.Shape(["N", 8, None, None])):
        values["b"].shape = shape
        monkeypatch.setattr(frontier, "_BYTES", needed)
        assert networks.advanced([values["c"]], {"c"}).known == ("b",)
        monkeypatch.setattr(frontier, "_BYTES", needed - 1)
        assert networks.advanced([values["c"]], {"c"}) is networks


def test_a_graph_inside_may_read_anything() -> None:
    """Catches: an If taken for settled, whose branches read what changes."""
    body = """a = Conv<pads=[1,1,1,1]>(x, wa)  s = ReduceSum<keepdims=0>(x)  k = Cast<to=9>(s)
        i = If(k)<then_branch = t () => (float[N, 8, 6, 6] p) { p = Neg(a) },
                  else_branch = u () => (float[N, 8, 6, 6] q) { q = Exp(a) }>  y = Conv(i, wy)"""
    model = graph(body, {"wa": (8, 3, 3, 3), "wy": (5, 8, 1, 1)})
    assert step_by_step(model, weighted_layers(model)[0]) == [(), ()]


@pytest.mark.parametrize(
    ("network", "x"), [(CHAIN, "float[N, 3, 6, 6]"), (TOKENS, "float[N, 4, 6]"), (RECURRENT, "float[N, 4, 6]")]
)
def test_pruning_is_the_same_with_a_frontier_and_without(
    network: tuple[str, Weights], x: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches: layers that change though they were taken for settled: gates, and the first of two fitted together."""
    rank = "float[N, 5, 6, 6]" if network is CHAIN else "float[N, 4, 5]"
    model = graph(*network, x, rank)
    data = Dataset(samples(model, 48))
    found = []
    for limit in (0, 2**30):
        monkeypatch.setattr(frontier, "_BYTES", limit)
        asked = Prune("structured", macs=0.6, multiple=1)
        press = Press(copy_graph(model), data, np.zeros((1, len(data)), np.intp), prune=asked, target=None)
        found.append(press.float_graph())
    for name, value in found[0].graph.initializers.items():
        mine, right = (np.asarray(one.const_value) for one in (found[1].graph.initializers[name], value))
        np.testing.assert_allclose(mine, right, rtol=5e-3, atol=5e-4)
