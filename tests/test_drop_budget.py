"""The search for a largest drop, on the tiny classifier, against every share looked through one by one."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from conftest import Classifier
from foldpress.benchmark.scoring import make_task
from foldpress.data import Dataset, Indices
from foldpress.drop_budget import Loss, Stage, loss_of, meet_drop
from foldpress.errors import RequestError
from foldpress.optimizer import factorizing, pruning
from foldpress.optimizer.cleanup import clean_up
from foldpress.optimizer.factorize.request import Factorization
from foldpress.optimizer.gram import collect_grams
from foldpress.optimizer.passes import apply
from foldpress.optimizer.press import Press
from foldpress.optimizer.prune import Prune
from foldpress.runtime import open_session, predict

COUNT = 300


@pytest.fixture(scope="module")
def model(classifier: Classifier) -> ir.Model:
    named: ir.Model = ir.from_proto(onnx.shape_inference.infer_shapes(classifier.proto))
    return apply(clean_up(), named).model


@pytest.fixture(scope="module")
def data(classifier: Classifier) -> Dataset:
    return Dataset({"x": classifier.held_out["x"][:COUNT]}, classifier.held_out["y"][:COUNT])


def press(model: ir.Model, data: Dataset, limit: float, folds: int = 4) -> Press:
    numbers: Indices = (np.arange(len(data)) % folds)[None]
    return Press(model, data, numbers, prune=Prune("structured", max_drop=limit), target=None)


def loss(data: Dataset) -> Loss:
    return loss_of(make_task("classification", Path(), data.y if data.targets is not None else np.empty(0)))


def drop_at(model: ir.Model, data: Dataset, share: float) -> float | None:
    """Pruned by even folds and scored on odd ones, and the other way round: slow and obvious."""
    lost = 0.0
    half = np.arange(len(data)) % 4 % 2
    for side in (0, 1):
        seen, unseen = (data.select(np.flatnonzero(part)) for part in (half != side, half == side))
        one_fold = np.zeros((1, len(seen)), np.intp)
        try:
            pruned = Press(model, seen, one_fold, prune=Prune("structured", macs=share), target=None).float_graph()
        except RequestError:
            return None
        before, after = (predict(open_session(graph), unseen, 64)[0].argmax(1) for graph in (model, pruned))
        lost += float((before == unseen.y).sum() - (after == unseen.y).sum())
    return lost / len(data)


@pytest.mark.parametrize("limit", [0.01, 0.05])
def test_the_smallest_share_that_loses_no_more(model: ir.Model, data: Dataset, limit: float) -> None:
    """Catches: a share that loses more than allowed, or one next to which a smaller one is as good; samples scored by a
    network that has seen them."""
    found = meet_drop(press(model, data, limit), loss(data))
    drop, next_drop = (drop_at(model, data, share) for share in (found.share, round(found.share - 0.05, 2)))
    assert drop is not None
    assert drop <= limit
    assert next_drop is None or next_drop > limit
    path = {entry.detail.split()[1]: entry.action for entry in found.log}
    assert path[f"{found.share:.2f}"] == "done"
    assert len(path) <= 5
    assert found == meet_drop(press(model, data, limit), loss(data))


@pytest.mark.parametrize("stage", ["prune", "factorize"])
def test_all_shares_learn_from_one_pass(
    model: ir.Model, data: Dataset, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches: statistics collected anew for every share that is tried."""
    passes = []

    def counted(*given: Any) -> Any:
        passes.append(given)
        return collect_grams(*given)

    for module in (pruning, factorizing):
        monkeypatch.setattr(module, "collect_grams", counted)
    asked = press(model, data, 0.5)
    if stage == "factorize":
        asked = asked.pruning(None).factorizing(Factorization(max_drop=0.5))
    assert len(meet_drop(asked, loss(data), stage=stage).log) > 1
    assert len(passes) == 1


def test_a_round_does_not_see_the_fold_that_it_is_judged_on(model: ir.Model, data: Dataset) -> None:
    """Catches: leakage of a held-out fold into the share of its own round."""
    x, y = data.inputs["x"].copy(), data.y.copy()
    x[np.arange(COUNT) % 4 == 2] *= -3
    y[np.arange(COUNT) % 4 == 2] = 0
    disturbed = Dataset({"x": x}, y)
    one, other = (meet_drop(press(model, given, 0.03), loss(given), fold=2) for given in (data, disturbed))
    assert one == other
    assert (
        meet_drop(press(model, data, 0.03), loss(data)).log != meet_drop(press(model, disturbed, 0.03), loss(data)).log
    )


def test_without_targets_the_unpruned_network_is_right(model: ir.Model, data: Dataset) -> None:
    """Catches: labels demanded of `foldpress prune`; a drop that is always zero."""
    unlabelled = Dataset(data.inputs)
    found = meet_drop(press(model, unlabelled, 0.05), loss(unlabelled))
    lost: dict[str, Any] = {
        entry.action: float(entry.detail.split()[-1]) for entry in found.log if "lose" in entry.detail
    }
    assert 0 < lost["done"] <= 0.05 < lost["declined"]


def test_a_drop_that_cannot_be_kept_says_which_can(model: ir.Model, data: Dataset) -> None:
    """Catches: an unpruned network sold as a pruned one."""

    def always(samples: Dataset, *_: object) -> float:
        return 0.1 * len(samples)

    with pytest.raises(RequestError, match=r"max_drop = 0.01 cannot be met: .*0\.95.* lose 0\.1") as raised:
        meet_drop(press(model, data, 0.01), always)
    assert "max_drop = 0.10" in str(raised.value)
