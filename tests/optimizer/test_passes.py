from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import pytest

from foldpress.data import Dataset
from foldpress.errors import PassError
from foldpress.graph import serialize
from foldpress.optimizer.cleanup import clean_up
from foldpress.optimizer.passes import LogEntry, Pass, PassResult, apply
from foldpress.optimizer.prune import Prune
from foldpress.optimizer.unstructured import PruneThreshold, PruneTwoFour
from foldpress.runtime import open_session, predict

pytest_plugins = ["trained"]


def small() -> ir.Model:
    text = '<ir_version: 9, opset_import: ["" : 18]> g (float[N, 2] x) => (float[N, 2] y) { r = Relu(x)  y = Neg(r) }'
    model: ir.Model = ir.from_proto(onnx.parser.parse_model(text))
    return model


@dataclass(frozen=True)
class Do:
    """A pass made of a function that changes the graph in place."""

    change: Callable[[ir.Model], None]
    name: str = "do"

    def __call__(self, model: ir.Model) -> PassResult:
        self.change(model)
        return PassResult(model, (LogEntry(self.name, "graph", "done", "changed"),))


def test_the_callers_graph_never_changes_and_logs_add_up() -> None:
    """Catches: passes that edit what they are given; a log that is lost between passes."""
    model = small()
    before = serialize(model)

    def rename(m: ir.Model) -> None:
        m.graph.node(0).name = "renamed"

    result = apply([Do(rename, "a"), Do(rename, "b")], model)
    assert serialize(model) == before
    assert serialize(result.model) != before
    assert [entry.pass_name for entry in result.log] == ["a", "b"]


def test_a_pass_that_changes_the_interface_is_stopped_by_name() -> None:
    """Catches: a pruned output, a renamed input."""

    def rename(m: ir.Model) -> None:
        m.graph.inputs[0].name = "other"

    with pytest.raises(PassError, match="pass do changed the graph's inputs or outputs"):
        apply([Do(rename)], small())


def test_a_pass_that_breaks_the_graph_is_stopped_by_name() -> None:
    """Catches: an invalid graph handed to the next stage."""

    def break_it(m: ir.Model) -> None:
        m.graph.node(0).op_type = "NoSuchOperator"

    with pytest.raises(PassError, match="pass do broke the graph"):
        apply([Do(break_it)], small())


@pytest.mark.parametrize(
    ("passes", "accuracy"),
    [
        (clean_up(), 0.98),
        ([PruneThreshold(threshold=0.01)], 0.98),
        # Neither repairs nor retrains: what is left of a network of 99 % is what a later repair starts from.
        ([PruneThreshold(sparsity=0.5)], 0.9),
        ([PruneTwoFour()], 0.5),
    ],
    ids=["clean-up", "threshold", "sparsity", "2:4"],
)
def test_every_pass_keeps_the_contract(
    passes: list[Pass], accuracy: float, digits_graph: ir.Model, digits_data: Dataset
) -> None:
    """Catches: a pass that mutates its argument, is not repeatable, does not log, or destroys a trained network."""
    before = serialize(digits_graph)
    first, second = apply(passes, digits_graph), apply(passes, digits_graph)
    assert serialize(digits_graph) == before
    assert serialize(first.model) == serialize(second.model)
    assert all(entry.detail for entry in first.log)
    data = digits_data.renamed({"x": digits_graph.graph.inputs[0].name or ""})
    scores = predict(open_session(serialize(first.model)), data, 64)[0]
    assert (scores.argmax(1) == data.y).mean() > accuracy


def test_prune_says_whether_it_learns() -> None:
    """Catches: a data-driven method judged on folds that it has seen."""
    assert Prune("structured", macs=0.5).learns
    assert not Prune("unstructured", sparsity=0.5).learns
    data = Dataset({"x": np.zeros((2, 2), np.float32)})
    assert isinstance(Prune("2:4").make({}, data), PruneTwoFour)
    assert np.isclose(getattr(Prune("unstructured", sparsity=0.5).make({}, data), "sparsity", 0), 0.5)
    assert getattr(Prune("structured", macs=0.5, multiple=1).make({}, data), "multiple", 0) == 1
