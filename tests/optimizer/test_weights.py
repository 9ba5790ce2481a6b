import numpy as np
import onnx_ir as ir
import pytest

from depthwise import network, outputs, samples
from foldpress.errors import RequestError
from foldpress.graph import serialize
from foldpress.optimizer.collection import Collection
from foldpress.optimizer.press import Press
from foldpress.optimizer.ranges import Method
from foldpress.optimizer.static_int8 import tensors_to_calibrate
from foldpress.optimizer.targets import TARGETS
from foldpress.optimizer.weights import WeightPasses, automatic_passes
from foldpress.weight_passes import AUTO, AUTO_DEPTHWISE, WeightPass, choose_weights

pytest_plugins = ["trained"]

EVERY: tuple[WeightPass, ...] = ("equalization", "smooth", "gptq", "bias-correction")
NUMBERS = np.stack([np.arange(60) % 3, np.arange(60) // 30])


def press(
    names: tuple[WeightPass, ...],
    model: ir.Model | None = None,
    numbers: np.ndarray = NUMBERS,
    rows: np.ndarray | None = None,
    ranges: Method = "auto",
) -> Press:
    data = samples() if rows is None else samples().select(rows)
    target = TARGETS["arm"]  # leaves no layer float
    return Press(model or network(), data, numbers, prune=None, target=target, ranges=ranges, weights=names)


@pytest.mark.parametrize("names", [(), ("bias-correction",), ("gptq",), ("equalization",), EVERY])
@pytest.mark.parametrize("ranges", ["minmax", "mse"])
def test_every_set_of_passes_gives_a_graph_that_is_close(names: tuple[WeightPass, ...], ranges: Method) -> None:
    """Catches: statistics of one scale with weights of another, a pass that breaks the graph."""
    model, data = network(), samples(200, seed=5)
    found = press(names, model, ranges=ranges).ship()
    assert found.quantized is not None
    wanted = outputs(model, data)
    error = np.mean((outputs(found.quantized, data) - wanted) ** 2) / np.mean(wanted**2)
    assert error < 2e-3
    told = {entry.pass_name for entry in found.log if entry.action == "done"}
    assert set(names) - {"smooth"} == told & set(EVERY)  # there is no normalization to smooth behind


@pytest.mark.parametrize(("repeat", "fold"), [(0, 1), (1, 0)])
def test_leaving_a_fold_out_is_pressing_without_it(repeat: int, fold: int) -> None:
    """Catches: the judged fold in any scale, Gram matrix, mean or range."""
    rest = np.flatnonzero(NUMBERS[repeat] != fold)
    without = press(EVERY).without(fold, repeat).quantized
    alone = press(EVERY, numbers=np.zeros((1, len(rest)), np.intp), rows=rest).ship().quantized
    shipped = press(EVERY).ship().quantized
    assert without is not None
    assert alone is not None
    assert shipped is not None
    data = samples(50, seed=7)
    found, wanted, other = (outputs(graph, data) for graph in (without, alone, shipped))
    # Sums in another order may round a weight the other way; the fold's own influence is far larger.
    assert np.abs(found - wanted).mean() < 0.2 * np.abs(found - other).mean()


def test_the_same_samples_give_the_same_bytes() -> None:
    """Catches: an order of layers or a draw that differs from run to run."""
    first, second = (press(AUTO_DEPTHWISE).ship().quantized for _ in range(2))
    assert first is not None
    assert second is not None
    assert serialize(first) == serialize(second)


def test_too_many_channels_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches: memory that grows with the width of a network, or a chain left in silence."""
    monkeypatch.setattr("foldpress.optimizer.collection._CHANNEL_BYTES", 0)
    found = press(("equalization",)).ship()
    reasons = [entry.detail for entry in found.log if entry.pass_name == "equalization"]
    assert sum("fit in memory" in reason for reason in reasons) == 2


def test_what_was_learned_for_all_passes_serves_each() -> None:
    """Catches: a tensor that loses its range because its channels were observed, but are not scaled."""
    model, data, target = network(), samples(), TARGETS["arm"]
    numbers = np.zeros((1, 60), np.intp)
    learned = Collection(model, data, numbers, "histograms", EVERY).collect().all()
    alone = Collection(model, data, numbers, "histograms").collect().all()
    many, few = (WeightPasses((), target).prepare(model, one).found for one in (learned, alone))
    assert sorted(many.ranges.tensors) == sorted(few.ranges.tensors) == tensors_to_calibrate(model)  # type: ignore[union-attr]
    order = np.argsort(many.ranges.tensors), np.argsort(few.ranges.tensors)  # type: ignore[union-attr]
    np.testing.assert_array_equal(many.counts[order[0]], few.counts[order[1]])  # type: ignore[union-attr]


def test_auto_depends_on_the_network(digits_graph: ir.Model) -> None:
    """Catches: the price of Gram matrices paid where they gain little, or depthwise layers left as they are."""
    assert automatic_passes(network()) == AUTO_DEPTHWISE
    assert automatic_passes(digits_graph) == AUTO


def test_names() -> None:
    """Catches: a misspelt pass that is left out in silence."""
    assert choose_weights("auto") == choose_weights(["auto"]) is None
    assert choose_weights("none") == choose_weights([]) == ()
    assert choose_weights(["bias-correction", "gptq"]) == ("gptq", "bias-correction")
    with pytest.raises(RequestError, match="did you mean gptq"):
        choose_weights(["gtpq"])
    with pytest.raises(RequestError, match="not precision 'dynamic'"):
        choose_weights(["gptq"], "dynamic")
    assert choose_weights("auto", "dynamic") is None
