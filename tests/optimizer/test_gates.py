"""The gates of recurrent layers against the obvious: a loop over the steps, as ONNX defines the operators."""

import numpy as np
import onnx_ir as ir
import pytest

from foldpress.data import Dataset
from foldpress.graph import copy_graph, initializer, set_initializer
from foldpress.optimizer.allocation import Plan
from foldpress.optimizer.gates import add_gates, has_gates, is_gate, remove_gates, store_gates, with_gates
from foldpress.optimizer.gram import collect_grams, has_gram
from foldpress.optimizer.groups import find_groups
from foldpress.optimizer.hiding import hide, refit_consumers
from foldpress.optimizer.masks import Masks, masked
from foldpress.optimizer.repair import Consumer, consumer
from topologies import TOPOLOGIES, Weights, build, graph, outputs, samples

STEPS, UNITS, INPUTS, SAMPLES = 4, 5, 6, 3
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
CASES = [
    ("LSTM", "forward", ""),
    ("LSTM", "reverse", ""),
    ("LSTM", "bidirectional", "initial"),
    ("LSTM", "forward", "no bias"),
    ("GRU", "bidirectional", ""),
    ("GRU", "forward", "initial"),
    ("GRU", "reverse", "linear"),
    ("RNN", "forward", "last state"),
]
RECURRENT = ["LSTM", "LSTM in both directions", "GRU", "GRU in both directions", "RNN"]
Rows = np.ndarray


def layer(kind: str, direction: str, special: str) -> ir.Model:
    """A recurrent layer over [N, 4, 6], and a matrix behind all its states, or behind the last one alone."""
    ways, rows = 2 if direction == "bidirectional" else 1, GATES[kind] * UNITS
    weights: Weights = {"w": (ways, rows, INPUTS), "r": (ways, rows, UNITS), "u": (UNITS, 3)}
    weights |= {} if special == "no bias" else {"b": (ways, 2 * rows)}
    weights |= {"h": (ways, SAMPLES, UNITS)} if special == "initial" else {}
    names = f"t, w, r, {'b' if 'b' in weights else ''}, , {'h' if 'h' in weights else ''}"
    how = f'direction="{direction}", hidden_size={UNITS}' + (", linear_before_reset=1" if special == "linear" else "")
    read = "last" if special == "last state" else "all"
    body = f"t = Transpose<perm=[1,0,2]>(x)  all, last = {kind}<{how}>({names})  y = MatMul({read}, u)"
    model = graph(
        body, weights, f"float[N, {STEPS}, {INPUTS}]", "float[P, Q, 3]" if read == "last" else "float[P, Q, R, 3]"
    )
    recurrent = next(node for node in model.graph if node.op_type == kind)
    recurrent.outputs[read == "all"].name = ""
    return model


def stored(model: ir.Model, name: str) -> Rows:
    return np.array(initializer(model, model.graph.initializers[name]), np.float64)


def sigmoid(x: Rows) -> Rows:
    return np.asarray(1 / (1 + np.exp(-x)))


def by_steps(model: ir.Model, x: Rows, kind: str, way: int, backward: bool, linear: bool) -> list[Rows]:
    """What the gates of one direction sum over, [N, T, …] each."""
    names = model.graph.initializers
    w, r = stored(model, "w")[way], stored(model, "r")[way]
    wb, rb = np.split(stored(model, "b")[way], 2) if "b" in names else np.zeros((2, len(w)))
    h = stored(model, "h")[way] if "h" in names else np.zeros((len(x), UNITS))
    c, n, taken = np.zeros_like(h), 2 * UNITS, []
    for step in reversed(range(STEPS)) if backward else range(STEPS):
        given, back = x[:, step] @ w.T + wb, h @ r.T + rb
        sums = [given + back]
        if kind == "LSTM":
            i, o, f, g = np.split(sums[0], 4, axis=1)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
        elif kind == "GRU":
            z, reset = np.split(sigmoid(sums[0][:, :n]), 2, axis=1)
            parts = given[:, n:], reset * back[:, n:] if linear else (reset * h) @ r[n:].T + rb[n:]
            sums = [sums[0][:, :n], *((given[:, n:], back[:, n:]) if linear else (sum(parts),))]
            h = (1 - z) * np.tanh(sum(parts)) + z * h
        else:
            h = np.tanh(sums[0])
        taken.append(sums)
    return [np.stack(one, axis=1) for one in zip(*(taken[::-1] if backward else taken), strict=True)]


@pytest.mark.parametrize(("kind", "direction", "special"), CASES)
def test_products_are_what_the_gates_sum_over(kind: str, direction: str, special: str) -> None:
    """Catches: states of the wrong step or direction; half of the bias forgotten; the reset gate in the wrong place."""
    model = layer(kind, direction, special)
    feed = samples(model, SAMPLES)
    ways = {"forward": [False], "reverse": [True], "bidirectional": [False, True]}[direction]
    expected = [
        sums
        for way, backward in enumerate(ways)
        for sums in by_steps(model, feed["x"], kind, way, backward, special == "linear")
    ]
    shown = with_gates(model)
    shown.graph.outputs[:] = [node.outputs[0] for node in shown.graph if is_gate(node)]
    for mine, right in zip(outputs(shown, feed), expected, strict=True):
        np.testing.assert_allclose(mine, right, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("kind", "direction", "special"), CASES)
def test_weights_go_back_where_they_came_from(kind: str, direction: str, special: str) -> None:
    """Catches: rows of another gate or direction; a bias that a layer has not had, or the half that it shares, overwritten."""
    model = layer(kind, direction, special)
    feed, nodes = samples(model, SAMPLES), [node.name for node in model.graph]
    before = outputs(model, feed)[0]
    add_gates(model)
    store_gates(model)
    remove_gates(model)
    np.testing.assert_allclose(outputs(model, feed)[0], before, rtol=1e-5, atol=1e-6)
    assert [node.name for node in model.graph] == nodes
    add_gates(model)
    for node in [node for node in model.graph if is_gate(node)]:
        name = str(node.inputs[1].name)  # type: ignore[union-attr]
        set_initializer(model, name, stored(model, name).astype(np.float32) * np.float32(0.5) + np.float32(0.1))
    weights = {node.name: stored(model, str(node.inputs[1].name)) for node in model.graph if is_gate(node)}  # type: ignore[union-attr]
    store_gates(model)
    remove_gates(model)
    add_gates(model)
    assert len(weights) == sum(map(is_gate, model.graph))
    for node in (node for node in model.graph if is_gate(node)):
        np.testing.assert_allclose(stored(model, str(node.inputs[1].name)), weights[node.name], atol=1e-6)  # type: ignore[union-attr]


@pytest.mark.parametrize("name", RECURRENT)
def test_they_change_no_group(name: str) -> None:
    """Catches: units that go in another order, or not at all, once products read them."""
    model = build(TOPOLOGIES[name])
    plain, shown = (find_groups(one)[0] for one in (model, with_gates(model)))
    assert [(group.name, group.channels) for group in plain] == [(group.name, group.channels) for group in shown]
    for one, other in zip(plain, shown, strict=True):
        found = {(slot.node.name, slot.position): slot.channels for slot in other.consumers}
        for slot in one.consumers:
            np.testing.assert_array_equal(slot.channels, found[slot.node.name, slot.position])


def test_what_cannot_be_shown_is_left_alone() -> None:
    """Catches: weights of another layer changed too; a reset gate taken for a sigmoid that is none."""
    model = layer("GRU", "forward", "")
    recurrent = next(node for node in model.graph if node.op_type == "GRU")
    assert has_gates(recurrent)
    recurrent.attributes["activations"] = ir.AttrStrings("activations", ["HardSigmoid", "Tanh"])
    assert not has_gates(recurrent)
    shared = layer("LSTM", "forward", "")
    again = ir.node("Neg", [shared.graph.initializers["r"]], name="again")
    shared.graph.append(again)
    assert not any(map(has_gates, shared.graph))


def consumers_of(model: ir.Model, name: str, data: Dataset) -> list[Consumer]:
    """The least-squares problems of all that reads a group's units."""
    shown = with_gates(model)
    group = next(group for group in find_groups(shown)[0] if group.name == name)
    slots = [slot for slot in group.consumers if has_gram(slot)]
    grams = collect_grams(shown, slots, data, np.zeros((1, len(data)), np.intp)).all()
    return [consumer(shown, slot, grams[str(slot.node.name)]) for slot in slots]


def plan_of(model: ir.Model, name: str, data: Dataset) -> Plan:
    """Three of eight units go."""
    group = next(group for group in find_groups(model)[0] if group.name == name)
    return Plan(group, consumers_of(model, name, data), [(np.array([1, 4, 6]), 0.0)], taken=1)


def test_the_recurrence_is_refitted_to_the_original() -> None:
    """Catches: units that go without anybody making up for them; worse than numpy's lstsq on the rows themselves."""
    model = build(TOPOLOGIES["LSTM"])
    data = Dataset(samples(model, 200))
    plan = plan_of(model, "a", data)
    pruned = copy_graph(model)
    refit_consumers(pruned, [plan])
    shown = with_gates(model)
    product = next(node for node in shown.graph if is_gate(node))
    shown.graph.outputs[:] = [value for value in product.inputs[:1] if value is not None]
    features = outputs(shown, dict(data.batch(slice(None))))[0].reshape(200 * STEPS, -1).astype(np.float64)
    kept = np.delete(np.arange(features.shape[1]), INPUTS + np.array([1, 4, 6]))
    weight, found, zeroed = (
        stored(with_gates(one), plan.consumers[0].slot.value.name or "")
        for one in (model, pruned, masked(model, Masks({"a": plan.keep()})))
    )
    best = features[:, kept] @ np.linalg.lstsq(features[:, kept], features @ weight, rcond=None)[0]
    floor, mine, none = (
        np.square(given - features @ weight).sum() for given in (best, features @ found, features @ zeroed)
    )
    assert not np.delete(found, kept, axis=0).any()
    assert floor <= mine <= 1.01 * floor
    assert mine < 0.9 * none


@pytest.mark.parametrize("name", RECURRENT)
def test_repair_takes_back_error(name: str) -> None:
    """Catches: weights given back to the wrong direction or gate; a repair that makes it worse over the steps."""
    model = build(TOPOLOGIES[name])
    data = Dataset(samples(model, 200))
    plans = [plan_of(model, group, data) for group in ("a", "c")]
    pruned, hidden = copy_graph(model), masked(model, Masks({plan.group.name: plan.keep() for plan in plans}))
    hide(pruned, plans, data)
    feed = samples(model, 100)
    whole, mine, none = (outputs(one, feed)[0] for one in (model, pruned, hidden))
    assert np.square(mine - whole).sum() < 0.7 * np.square(none - whole).sum()


def test_folds_merge_to_the_whole() -> None:
    """Catches: a step counted in the wrong fold."""
    model = with_gates(build(TOPOLOGIES["GRU in both directions"]))
    slots = [slot for slot in find_groups(model)[0][0].consumers if has_gram(slot)]
    data, numbers = Dataset(samples(model, 12)), (np.arange(12) % 3)[None]
    without = collect_grams(model, slots, data, numbers).without(1)
    rest = np.flatnonzero(numbers[0] != 1)
    alone = collect_grams(model, slots, data.select(rest), np.zeros((1, len(rest)), np.intp)).all()
    for name, gram in without.items():
        np.testing.assert_allclose(gram, alone[name], rtol=1e-5, atol=1e-5)
