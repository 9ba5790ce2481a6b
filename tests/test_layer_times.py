"""Times of single layers and the budget met by them, on a machine whose times are computed."""

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from foldpress import layer_times, time_budget
from foldpress.benchmark.plan import LatencyPlan
from foldpress.benchmark.ratios import Ratio
from foldpress.cost import graph_cost
from foldpress.data import Dataset
from foldpress.errors import RequestError
from foldpress.factor_budget import SettledFactors, meet_factor_latency
from foldpress.latency_cache import LatencyCache
from foldpress.layer_times import measure_layers
from foldpress.optimizer.allocation import BudgetError
from foldpress.optimizer.factorize.costs import AS_IT_IS
from foldpress.optimizer.factorize.forms import factorizable
from foldpress.optimizer.factorize.request import Factorization
from foldpress.optimizer.press import Press
from foldpress.optimizer.prune import Prune
from foldpress.optimizer.targets import choose_target
from topologies import Weights, graph

WEIGHTS: Weights = {"w": (48, 64), "v": (64, 48), "u": (48, 40)}
NETWORK = graph("a = MatMul(x, w) ra = Relu(a) b = MatMul(ra, v) rb = Relu(b) y = MatMul(rb, u)", WEIGHTS,
                "float[N, 5, 48]", "float[N, 5, 40]")  # fmt: skip
DATA = Dataset({"x": np.random.default_rng(0).normal(size=(64, 5, 48)).astype(np.float32)})


def press(budget: float = 0.7, **asked: object) -> Press:
    return Press(NETWORK, DATA, np.arange(64)[None] % 2, factorize=Factorization(latency=budget, **asked))  # type: ignore[arg-type]


class Machine:
    """A layer takes as long as it has MACs, and `each` besides; the whole is off from the sum of its layers by `bias`."""

    def __init__(self, each: float = 300.0, bias: float = 1.0) -> None:
        self.each, self.bias, self.asked = each, bias, 0

    def time(self, model: ir.Model) -> float:
        layers = graph_cost(model).layers
        return sum((one.macs or 0) + self.each for one in layers)

    def times(self, graphs: dict[str, ir.Model], *_: object) -> dict[str, float]:
        self.asked += 1
        return {name: self.time(model) for name, model in graphs.items()}

    def ratio(self, reference: ir.Model, model: ir.Model, *_: object) -> Ratio:
        share = (self.time(model) / self.time(reference)) ** self.bias
        return Ratio(share, share, share)


@pytest.fixture
def cache(tmp_path: Path) -> LatencyCache:
    return LatencyCache(LatencyPlan(), tmp_path)


def met(monkeypatch: pytest.MonkeyPatch, machine: Machine, asking: Press, cache: LatencyCache) -> SettledFactors:
    monkeypatch.setattr(layer_times, "time_graphs", machine.times)
    monkeypatch.setattr(time_budget, "time_ratio", machine.ratio)
    return meet_factor_latency(asking, DATA, LatencyPlan(), cache)


def test_every_form_of_every_layer_is_timed_once(monkeypatch: pytest.MonkeyPatch, cache: LatencyCache) -> None:
    """Catches: times of another layer or form; a second run that times again."""
    machine = Machine()
    monkeypatch.setattr(layer_times, "time_graphs", machine.times)
    layers = factorizable(NETWORK)[0]
    first = measure_layers(press(), NETWORK, layers, DATA, LatencyPlan(), cache)
    assert machine.asked == 4  # three layers and the whole
    assert measure_layers(press(), NETWORK, layers, DATA, LatencyPlan(), cache) == first
    assert machine.asked == 4
    for name, (_, options) in layers.items():
        assert first.times.layers[name].keys() == {AS_IT_IS, *map(str, options)}
    assert first.times.layers["a"][AS_IT_IS] == 5 * 48 * 64 + 300
    assert first.times.layers["a"]["low-rank 16"] == 5 * 16 * (48 + 64) + 600
    assert first.times.whole == machine.time(NETWORK)


def test_layers_that_are_really_timed_take_time(cache: LatencyCache, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches: parts that onnxruntime does not run, such as a Gemm of rows that are no samples."""
    monkeypatch.setattr(layer_times, "_SECONDS", 0.2)
    body = "f = Reshape(x, shape)  a = Gemm(f, w)  y = Reshape(a, shape2)"
    model = graph(body, {"w": (48, 64), "shape": (-1, 48), "shape2": (-1, 5, 64)}, "float[N, 5, 48]", "float[N, 5, 64]")
    found = measure_layers(press(), model, factorizable(model)[0], DATA, LatencyPlan(), cache)
    assert all(time > 0 for time in found.times.layers["a"].values())
    assert "low-rank" in found.log[0].detail


@pytest.mark.parametrize("bias", [0.7, 1.0, 1.4, 1.8])
def test_what_is_measured_meets_the_budget(monkeypatch: pytest.MonkeyPatch, cache: LatencyCache, bias: float) -> None:
    """Catches: a budget that only the times of single layers meet; another graph shipped than the one that was timed."""
    machine = Machine(bias=bias)
    settled = met(monkeypatch, machine, press(0.7), cache)
    shipped = press().factorizing(settled.factorize).ship().factorized
    assert shipped is not None
    taken = machine.ratio(NETWORK, shipped).value
    assert 0.6 <= taken <= 0.7 * 1.01
    [best] = [entry.detail for entry in settled.log if entry.subject == "search" and entry.action == "done"]
    assert f"measured {taken:.3f} of the time" in best
    again = met(monkeypatch, Machine(bias=2.0), press(0.7), cache)
    assert again.factorize == settled.factorize
    assert "taken over" in again.log[-1].detail


def test_where_no_form_is_faster_every_layer_is_declined(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Catches: fewer MACs sold as less time."""
    with pytest.raises(
        BudgetError, match=r"no form of any layer is faster .*low-rank.*\n.*leave \[factorize\] out"
    ) as raised:
        met(monkeypatch, Machine(each=1e6), press(0.9), LatencyCache(LatencyPlan(), tmp_path / "slow"))
    assert raised.value.least == pytest.approx(1)
    settled = met(monkeypatch, Machine(each=8500), press(0.97), LatencyCache(LatencyPlan(), tmp_path / "fast"))
    log = press().factorizing(settled.factorize).ship().log
    declined = [entry.detail for entry in log if "the best there is" in entry.detail]
    assert declined
    assert all("times its time, at an error of" in detail for detail in declined)


def test_what_cannot_be_timed_is_refused(cache: LatencyCache) -> None:
    """Catches: times of this machine for another; times of widths that a fold's own pruning does not have."""
    numbers = np.zeros((1, 64), np.intp)
    away = Press(NETWORK, DATA, numbers, factorize=Factorization(latency=0.8), target=choose_target("tensorrt"))
    with pytest.raises(RequestError, match="cannot be measured here"):
        meet_factor_latency(away, DATA, LatencyPlan(), cache)
    both = Press(NETWORK, DATA, numbers, prune=Prune("structured", macs=0.9), factorize=Factorization(latency=0.8))
    with pytest.raises(RequestError, match="each fold is pruned to widths of its own"):
        meet_factor_latency(both, DATA, LatencyPlan(), cache)
