from dataclasses import replace

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import pytest
from onnx import numpy_helper

from foldpress.data import Dataset
from foldpress.graph import copy_graph, set_initializer
from foldpress.optimizer.allocation import Plan
from foldpress.optimizer.gram import collect_grams
from foldpress.optimizer.groups import find_groups
from foldpress.optimizer.hiding import hide, refit_consumers
from foldpress.optimizer.influence import Outputs, measure_influence
from foldpress.optimizer.repair import consumer, removal_order
from foldpress.optimizer.structured import layers_to_observe
from topologies import TOPOLOGIES, build, samples

RNG = np.random.default_rng(0)


def network(dead: int = 0) -> ir.Model:
    """Two branches that are the same, of which one counts three times as much; the first `dead` channels are always zero."""
    text = """<ir_version: 9, opset_import: ["" : 18]> g (float[N, 6] x) => (float[N, 4] y) <float[1] three = {3.0}> {
        a = MatMul(x, a_in)  ra = Relu(a)  pa = MatMul(ra, a_out)  ta = Mul(pa, three)
        b = MatMul(x, b_in)  rb = Relu(b)  pb = MatMul(rb, b_out)  y = Add(ta, pb) }"""
    proto = onnx.parser.parse_model(text)
    into, out = (RNG.normal(size=shape).astype(np.float32) for shape in ((6, 16), (16, 4)))
    into[:, :dead] = 0
    for name in "ab":
        proto.graph.initializer.append(numpy_helper.from_array(into, f"{name}_in"))
        proto.graph.initializer.append(numpy_helper.from_array(out, f"{name}_out"))
    for node in proto.graph.node:
        node.name = node.output[0]
    model: ir.Model = ir.from_proto(onnx.shape_inference.infer_shapes(proto))
    return model


def measured(model: ir.Model, data: Dataset, chunk: int, share: float) -> list[Plan]:
    grams = collect_grams(model, layers_to_observe(model), data, np.zeros((1, 64), np.intp)).all()
    plans = []
    for group in find_groups(model)[0]:
        consumers = [consumer(model, slot, grams[str(slot.node.name)]) for slot in group.consumers]
        plans.append(Plan(group, consumers, removal_order(consumers, group.channels, chunk, chunk)))
    measure_influence(model, plans, data, share)
    return plans


def test_an_error_counts_as_much_as_of_it_reaches_the_output() -> None:
    """Catches: an influence of the layer's own output instead of the network's; a graph that stays cut."""
    model, data = network(), Dataset({"x": RNG.normal(size=(64, 6)).astype(np.float32)})
    plans = measured(model, data, chunk=4, share=0.5)
    threefold, single = (plan.influence for plan in plans)
    assert threefold / single == pytest.approx(9, rel=1e-3)
    # The output is four times one branch: a quarter of it is all that the single branch can change.
    x = data.batch(slice(None))["x"]
    branch = np.maximum(x @ model.graph.initializers["b_in"].const_value.numpy(), 0)  # type: ignore[union-attr]
    output = branch @ model.graph.initializers["b_out"].const_value.numpy()  # type: ignore[union-attr]
    energy, spread = np.square(output).mean(), np.square(output - output.mean(0)).mean()
    assert single == pytest.approx(energy / (16 * spread), rel=0.01)  # the predicted error holds a ridge besides


@pytest.mark.parametrize("dead", [1, 7])
def test_dead_channels_do_not_make_a_group_free(dead: int) -> None:
    """Catches: an influence of zero, measured where only channels went that nobody misses."""
    data = Dataset({"x": RNG.normal(size=(64, 6)).astype(np.float32)})
    threefold, single = (plan.influence for plan in measured(network(dead), data, chunk=1, share=0.05))
    assert single > 0.03  # alive: about 1 / 16, see above
    assert threefold / single == pytest.approx(9, rel=1e-3)


@pytest.fixture
def residual(monkeypatch: pytest.MonkeyPatch) -> tuple[ir.Model, Dataset]:
    """A stream and a branch, and samples: with half of the channels gone, both show."""
    monkeypatch.setattr("topologies.RNG", np.random.default_rng(0))
    model = build(TOPOLOGIES["residual sum"])
    return model, Dataset(samples(model, 100))


def two_at_a_time(model: ir.Model, data: Dataset) -> list[Plan]:
    grams = collect_grams(model, layers_to_observe(model), data, np.zeros((1, 100), np.intp)).all()
    plans = []
    for group in find_groups(model)[0]:
        consumers = [consumer(model, slot, grams[str(slot.node.name)]) for slot in group.consumers]
        plans.append(Plan(group, consumers, removal_order(consumers, group.channels, 2, 2 if group.least else 0)))
    return plans


def error_of(model: ir.Model, data: Dataset, cut: Plan, *, repair: bool) -> float:
    """Of the outputs of some samples, once others have repaired what is behind the cut."""
    few = np.unique(np.linspace(0, 99, 64).astype(np.intp))
    graph = copy_graph(model)
    if repair:
        hide(graph, [cut], data.select(np.setdiff1d(np.arange(100), few)), together=False)
    else:
        refit_consumers(graph, [cut])
    return Outputs(model, data.select(few)).error(graph)


def test_a_stream_counts_by_what_repair_leaves_of_it(residual: tuple[ir.Model, Dataset]) -> None:
    """Catches: streams at the price of inner channels, whose error later layers take back; inner channels at another price."""
    plans = two_at_a_time(*residual)
    measure_influence(residual[0], plans, residual[1], 0.5)
    cuts = [replace(plan, taken=-(-len(plan.order) // 2)) for plan in plans]
    before, after = (np.array([error_of(*residual, cut, repair=repair) for cut in cuts]) for repair in (False, True))
    left = after / before
    stream, inner = (error / cut.error(cut.taken) for cut, error in zip(cuts, before, strict=True))
    assert plans[1].influence == pytest.approx(inner, rel=1e-3)
    assert plans[0].influence == pytest.approx(stream * left[0] / left[1], rel=1e-3)
    assert left[0] / left[1] != pytest.approx(1, rel=0.01)


def test_a_branch_that_goes_is_measured_as_it_goes(residual: tuple[ir.Model, Dataset]) -> None:
    """Catches: the price of a whole branch guessed from some of its channels; one in other units than the others'."""
    plans = two_at_a_time(*residual)
    measure_influence(residual[0], plans, residual[1], 0.5, branches=True)
    half, whole = (replace(plans[1], taken=taken) for taken in (-(-len(plans[1].order) // 2), len(plans[1].order)))
    usual = error_of(*residual, half, repair=True) / error_of(*residual, half, repair=False)
    assert plans[1].loss(whole.taken) == pytest.approx(error_of(*residual, whole, repair=True) / usual, rel=1e-3)
    assert plans[1].loss(whole.taken) != pytest.approx(plans[1].influence * plans[1].error(whole.taken), rel=0.05)
    assert plans[1].loss(half.taken) == plans[1].influence * plans[1].error(half.taken)
    assert plans[0].branch is None


def test_what_reaches_no_output_costs_nothing(residual: tuple[ir.Model, Dataset]) -> None:
    """Catches: a division by the error that repair leaves, where there is none."""
    model, data = residual
    last = next(node for node in model.graph if node.name == "y").inputs[1]
    assert last is not None
    set_initializer(model, str(last.name), np.zeros(last.shape.numpy(), np.float32))  # type: ignore[union-attr]
    plans = two_at_a_time(model, data)
    measure_influence(model, plans, data, 0.5, branches=True)
    inner = next(plan for plan in plans if not plan.group.least)
    assert inner.error(1) > 0
    assert inner.influence == inner.loss(len(inner.order)) == 0
