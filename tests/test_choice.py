from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from foldpress import choice
from foldpress.benchmark.plan import LatencyPlan
from foldpress.choice import Choice, choose
from foldpress.data import Dataset
from foldpress.errors import GraphError
from foldpress.graph import copy_graph
from foldpress.optimizer.press import Press
from foldpress.optimizer.quantize import Quantize
from foldpress.optimizer.targets import Target, choose_target
from foldpress.precision import Precision

pytest_plugins = ["trained"]
HERE = choose_target("auto")


@pytest.fixture(scope="session")
def data(digits_graph: ir.Model, digits_data: Dataset) -> Dataset:
    return digits_data.renamed({"x": digits_graph.graph.inputs[0].name or ""}).select(np.arange(64))


def press(graph: ir.Model, data: Dataset, target: Target | None = HERE, precision: Precision | None = None) -> Press:
    numbers = np.zeros((1, len(data)), np.intp)
    return Press(graph, data, numbers, prune=None, target=target, precision=precision or Precision("auto"))


def choose_by(monkeypatch: pytest.MonkeyPatch, speeds: dict[str, tuple[float, float, float]], pressing: Press, data: Dataset) -> Choice:  # fmt: skip
    """What is chosen if these were measured: the speedup, and its interval, of each graph."""

    def rows(measured: list[str], *_: Any) -> list[dict[str, Any]]:
        keys = ("speedup", "speedup_low", "speedup_high")
        return [{"graph": name, "batch": 1, **dict(zip(keys, speeds.get(name, (1, 1, 1)), strict=True))} for name in measured]  # fmt: skip

    monkeypatch.setattr(choice, "measure", lambda paths, *_: list(paths))
    monkeypatch.setattr(choice, "latency_rows", rows)
    return choose(pressing, data, LatencyPlan())


@pytest.mark.parametrize(
    ("static", "dynamic", "stored", "expected"),
    [
        ((2.0, 1.9, 2.1), (1.1, 1.05, 1.2), (1, 1, 1), Precision("static")),
        ((1.1, 1.05, 1.2), (2.0, 1.9, 2.1), (1, 1, 1), Precision("dynamic")),
        ((1.99, 1.9, 2.1), (2.0, 1.9, 2.1), (1, 1, 1), Precision("static")),
        ((1.05, 0.98, 1.2), (0.9, 0.8, 0.95), (1, 0.99, 1.01), Precision("weights", 8)),
        ((0.7, 0.6, 0.8), (0.7, 0.6, 0.8), (0.8, 0.7, 0.9), None),
    ],
)
def test_the_fastest_is_chosen_and_nothing_slower_than_float32(
    monkeypatch: pytest.MonkeyPatch, digits_graph: ir.Model, data: Dataset,
    static: tuple[float, float, float], dynamic: tuple[float, float, float], stored: tuple[float, float, float],
    expected: Precision | None,
) -> None:  # fmt: skip
    """Catches: int8 shipped though it is slower, or only perhaps faster; a tie that chance decides."""
    speeds = {"static": static, "dynamic": dynamic, "weights": stored}
    chosen = choose_by(monkeypatch, speeds, press(digits_graph, data), data)
    assert chosen.precision == expected
    assert [entry.subject for entry in chosen.log][:2] == ["static", "dynamic"]
    done = [entry.subject for entry in chosen.log if entry.action == "done"]
    assert done == ([expected.name] if expected else [])
    assert all("float32's speed" in entry.detail for entry in chosen.log)


def test_what_is_asked_for_is_not_measured(monkeypatch: pytest.MonkeyPatch, digits_graph: ir.Model, data: Dataset) -> None:  # fmt: skip
    def refuse(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(choice, "measure", refuse)
    dynamic = Precision("dynamic")
    assert choose(press(digits_graph, data, precision=dynamic), data, LatencyPlan()) == Choice(dynamic, ())
    assert choose(press(digits_graph, data, target=None), data, LatencyPlan()) == Choice(None, ())


def test_the_speed_of_another_machine_is_not_measured_on_this_one(
    monkeypatch: pytest.MonkeyPatch, digits_graph: ir.Model, data: Dataset
) -> None:
    """Catches: a choice for an edge device made by what is fast on the build server."""
    elsewhere = choose_target("tensorrt")
    chosen = choose_by(monkeypatch, {"static": (0.5, 0.4, 0.6)}, press(digits_graph, data, target=elsewhere), data)
    assert chosen.precision == Precision("static")
    assert "tensorrt is not this machine" in chosen.log[0].detail


def test_single_layers_stay_float_only_in_static_int8(
    monkeypatch: pytest.MonkeyPatch, digits_graph: ir.Model, data: Dataset
) -> None:
    """Catches: dynamic int8 chosen for a recipe that asks for a layer in float, which it would not leave."""
    numbers = np.zeros((1, len(data)), np.intp)
    auto = Precision("auto")
    asking = Press(digits_graph, data, numbers, prune=None, target=HERE, precision=auto, keep_float=["Gemm"])
    chosen = choose_by(monkeypatch, {"static": (1.1, 1.05, 1.2), "dynamic": (3, 3, 3)}, asking, data)
    assert chosen.precision == Precision("static")


def test_statistics_are_collected_once_for_every_candidate(
    monkeypatch: pytest.MonkeyPatch, digits_graph: ir.Model, data: Dataset
) -> None:
    """Catches: the data read again for each precision, and once more for the one that is chosen."""
    pressing, collected, collect = press(digits_graph, data), [], Quantize.collect

    def counted(*given: Any) -> Any:
        collected.append(given)
        return collect(*given)

    monkeypatch.setattr(Quantize, "collect", counted)
    chosen = choose_by(monkeypatch, {"static": (2, 2, 2)}, pressing, data)
    pressing.at(chosen.precision).ship()
    assert len(collected) == 1


def test_a_network_that_overflows_is_refused(digits_graph: ir.Model, data: Dataset) -> None:
    """Catches: static int8 declined because of infinities, and then something else shipped with them inside."""
    broken = copy_graph(digits_graph)
    weight = next(value for value in broken.graph.initializers.values() if len(value.shape or ()) == 4)
    assert weight.const_value is not None
    weight.const_value = ir.tensor(np.full_like(weight.const_value.numpy(), 3e38))
    with pytest.raises(GraphError, match="overflow"):
        choose(press(broken, data), data, LatencyPlan())


def test_a_convolutional_network_is_timed_for_real(digits_graph: ir.Model, data: Dataset) -> None:
    """Catches: timing that breaks on the graphs that are compared. Static int8 is faster here by half at least."""
    chosen = choose(press(digits_graph, data), data, LatencyPlan())
    assert chosen.precision == Precision("static")
