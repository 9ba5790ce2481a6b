import numpy as np
import onnx_ir as ir
import pytest

from foldpress.cost import graph_cost
from foldpress.data import Dataset
from foldpress.errors import RequestError
from foldpress.graph import serialize
from foldpress.optimizer.gram import collect_grams
from foldpress.optimizer.passes import apply
from foldpress.optimizer.press import Press
from foldpress.optimizer.prune import Prune
from foldpress.optimizer.samples import calibration_rows
from foldpress.optimizer.structured import PruneStructured, layers_to_observe
from foldpress.runtime import open_session, predict

pytest_plugins = ["trained"]


@pytest.fixture(scope="session")
def data(digits_graph: ir.Model, digits_data: Dataset) -> Dataset:
    return digits_data.renamed({"x": digits_graph.graph.inputs[0].name or ""})


@pytest.fixture(scope="session")
def grams(digits_graph: ir.Model, data: Dataset) -> dict[str, np.ndarray]:
    numbers = np.zeros((1, 200), np.intp)
    return collect_grams(digits_graph, layers_to_observe(digits_graph), data.select(np.arange(200)), numbers).all()


@pytest.mark.parametrize(
    ("kind", "budget", "floor"),
    [("macs", 0.8, 0.98), ("macs", 0.5, 0.96), ("parameters", 0.6, 0.97), ("bytes", 0.6, 0.97)],
)
def test_the_budget_is_met_and_the_network_repaired(
    kind: str,
    budget: float,
    floor: float,
    digits_graph: ir.Model,
    data: Dataset,
    grams: dict[str, np.ndarray],
) -> None:
    """Catches: a file of the same size; a budget missed; accuracy lost for want of repair, on unseen samples."""
    result = apply([PruneStructured(kind, budget, grams, data.select(np.arange(200)))], digits_graph)  # type: ignore[arg-type]
    before, after = graph_cost(digits_graph), graph_cost(result.model)
    left = sum(getattr(x, kind) for x in after.layers) / sum(getattr(x, kind) for x in before.layers)
    assert budget - 0.12 < left <= budget
    unseen = data.select(np.arange(200, len(data)))
    scores = predict(open_session(serialize(result.model)), unseen, 64)[0]
    assert (scores.argmax(1) == unseen.y).mean() >= floor
    assert {entry.action for entry in result.log} == {"done", "declined"}
    logged = {entry.subject for entry in result.log}
    assert {layer.name for layer in before.layers} <= logged


@pytest.mark.parametrize("multiple", [1, 4])
def test_no_more_is_cut_than_the_budget_asks_for(
    multiple: int, digits_graph: ir.Model, data: Dataset, grams: dict[str, np.ndarray]
) -> None:
    """Catches: a last cut that is too large and stays; widths that are no multiple."""
    made = PruneStructured("macs", 0.7, grams, data.select(np.arange(200)), multiple)
    result = apply([made], digits_graph)
    before, after = (
        sum(layer.macs or 0 for layer in graph_cost(model).layers) for model in (digits_graph, result.model)
    )
    left = [int(entry.detail.split()[2]) for entry in result.log if entry.action == "done"]
    assert left
    assert not any(width % multiple for width in left)
    assert 0.7 - 0.02 * multiple < after / before <= 0.7


def test_a_budget_that_cannot_be_met_says_what_can(
    digits_graph: ir.Model, data: Dataset, grams: dict[str, np.ndarray]
) -> None:
    """Catches: an empty layer, or a silent stop above the budget."""
    with pytest.raises(RequestError, match=r"macs = 0.0001 cannot be met: .* allow 0\.\d+"):
        apply([PruneStructured("macs", 0.0001, grams, data)], digits_graph)


def test_the_round_without_a_fold_has_not_seen_it(digits_graph: ir.Model, data: Dataset) -> None:
    """Catches: leakage. Changing a held-out fold's samples must not change the graph that is judged on it."""
    rows = np.arange(100)
    numbers = (rows % 4)[None]
    disturbed = dict(data.batch(rows))
    name = next(iter(disturbed))
    disturbed[name] = disturbed[name].copy()
    disturbed[name][numbers[0] == 2] *= 3
    asked = {"prune": Prune("structured", macs=0.8), "target": None}
    made = [
        serialize(Press(digits_graph, calibration, numbers, **asked).without(2).pruned)  # type: ignore[arg-type]
        for calibration in (data.select(rows), Dataset(disturbed))
    ]
    shipped = [
        serialize(Press(digits_graph, calibration, numbers, **asked).ship().pruned)  # type: ignore[arg-type]
        for calibration in (data.select(rows), Dataset(disturbed))
    ]
    assert made[0] == made[1]
    assert shipped[0] != shipped[1]


def test_calibration_samples_are_spread_over_the_folds() -> None:
    """Catches: fewer calibration samples than asked for once a fold is left out."""
    numbers = np.random.default_rng(0).integers(0, 5, (2, 1000))
    rows = calibration_rows(numbers, 100, seed=0)
    assert all((numbers[0, rows] != fold).sum() == 100 for fold in range(5))
    assert len(calibration_rows(numbers, 5000, seed=0)) == 1000
