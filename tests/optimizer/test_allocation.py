"""Widths by budget: counted in MACs, or looked up in latencies whose curves have steps."""

from itertools import product

import numpy as np
import onnx_ir as ir
import pytest

from foldpress.cost import graph_cost
from foldpress.optimizer.allocation import BudgetError, Plan, allocate
from foldpress.optimizer.groups import find_groups
from foldpress.optimizer.knapsack import allocate_time, choose
from foldpress.optimizer.ledger import CountLedger, Curve, Latencies, LatencyLedger
from topologies import Weights, graph

# A float kernel that steps at multiples of 16, and is slower at 20 than at 32: counts that save nothing are not in a curve.
FIRST, SECOND = {32: 4.0, 16: 2.0, 8: 1.9}, {16: 3.0, 12: 2.9, 4: 1.0}


def network() -> ir.Model:
    body = """a = MatMul(x, wa) ra = Relu(a) pa = MatMul(ra, va)
              b = MatMul(x, wb) rb = Relu(b) pb = MatMul(rb, vb)  y = Add(pa, pb)"""
    weights: Weights = {"wa": (6, 32), "va": (32, 5), "wb": (6, 16), "vb": (16, 5)}
    return graph(body, weights, "float[N, 6]", "float[N, 5]")


def plans(model: ir.Model) -> list[Plan]:
    """Four channels at a time, errors that grow faster and faster."""
    found = []
    for group, scale in zip(find_groups(model)[0], (1.0, 3.0), strict=True):
        channels = np.arange(group.channels).reshape(-1, 4)[:-1]
        order = [(chunk, scale * (number + 1) ** 2 / 100) for number, chunk in enumerate(channels)]
        found.append(Plan(group, [], order))
    return found


def timed(model: ir.Model) -> LatencyLedger:
    groups = find_groups(model)[0]
    curves = {group.name: Curve(curve) for group, curve in zip(groups, (FIRST, SECOND), strict=True)}
    return LatencyLedger(model, groups, Latencies(10.0, curves))


@pytest.mark.parametrize("budget", [0.95, 0.9, 0.8, 0.7, 0.65, 0.6])
def test_a_budget_of_time_is_met_at_counts_that_save_time(budget: float) -> None:
    """Catches: widths on a plateau, which cost accuracy and save nothing; more error than is needed."""
    model = network()
    made, ledger = plans(model), timed(model)
    allocate_time(made, ledger, budget)
    widths = [plan.remaining(plan.taken) for plan in made]
    assert all(width in curve for width, curve in zip(widths, (FIRST, SECOND), strict=True))
    time = 3.0 + FIRST[widths[0]] + SECOND[widths[1]]
    assert ledger.cost(made) == pytest.approx(time)
    assert time <= budget * 10
    # Every pair of counts, looked through one by one.
    best = min(sum(plan.error((plan.group.channels - width) // 4) for plan, width in zip(made, pair, strict=True))
               for pair in product(FIRST, SECOND) if 3.0 + FIRST[pair[0]] + SECOND[pair[1]] <= budget * 10)  # fmt: skip
    assert sum(plan.influence * plan.error(plan.taken) for plan in made) == pytest.approx(best)


def test_the_smallest_time_is_told() -> None:
    """Catches: an endless search, or a layer cut to a count that was not measured."""
    model = network()
    with pytest.raises(BudgetError, match=r"latency = 0.5 cannot be met: .* 0\.590") as raised:
        allocate_time(plans(model), timed(model), 0.5)
    assert raised.value.least == pytest.approx(0.59)
    assert "latency = 0.60 or more" in str(raised.value)


def test_where_two_groups_meet_their_shares_multiply() -> None:
    """Catches: time saved twice in a layer that reads one group and makes another; one group's curve that dilutes another's."""
    model = graph("a = MatMul(x, w) b = MatMul(a, v) y = MatMul(b, u)",
                  {"w": (6, 16), "v": (16, 16), "u": (16, 5)}, "float[N, 6]", "float[N, 5]")  # fmt: skip
    groups = find_groups(model)[0]
    macs = {layer.name: layer.macs or 0 for layer in graph_cost(model).layers}
    curves = {"a": Curve({16: 4.0, 8: 2.0}), "b": Curve({16: 8.0, 8: 6.0})}
    ledger = LatencyLedger(model, groups, Latencies(20.0, curves))
    assert ledger.predict({"a": 8, "b": 16}) == pytest.approx(20 - 2)
    assert ledger.predict({"a": 16, "b": 8}) == pytest.approx(20 - 2)
    assert ledger.predict({"a": 16, "b": 16}) == pytest.approx(20)
    meeting = 4.0 * macs["b"] / (macs["a"] + macs["b"]), 8.0 * macs["b"] / (macs["b"] + macs["y"])
    alone = (4.0 - meeting[0]) * 0.5 + (8.0 - meeting[1]) * 0.25
    mean = (0.5 * meeting[0] + 0.25 * meeting[1]) / 0.75
    assert ledger.predict({"a": 8, "b": 8}) == pytest.approx(20 - alone - mean * (1 - 0.5 * 0.75))


def test_a_group_that_was_not_timed_stays_whole() -> None:
    """Catches: a cut whose effect on the time nobody knows."""
    model = network()
    groups, made = find_groups(model)[0], plans(model)
    ledger = LatencyLedger(model, groups, Latencies(10.0, {groups[0].name: Curve(FIRST)}))
    allocate_time(made, ledger, 0.8)
    assert made[1].taken == 0


def test_a_curve_that_rises_is_refused() -> None:
    """Catches: a count chosen that costs time."""
    with pytest.raises(ValueError, match="falls"):
        Curve({16: 1.0, 12: 1.2})


@pytest.mark.parametrize("kind", ["macs", "parameters", "bytes"])
def test_counts_are_exact(kind: str) -> None:
    """Catches: a ledger that is off from what the cut graph really costs."""
    model = network()
    made = plans(model)
    ledger = CountLedger(model, kind, [plan.group for plan in made])  # type: ignore[arg-type]
    allocate(made, ledger, 0.5)
    left = [plan.remaining(plan.taken) for plan in made]
    expected = sum((6 + 5) * width for width in left) * (4 if kind == "bytes" else 1)
    assert ledger.cost(made) == pytest.approx(expected)
    assert ledger.cost(made) <= 0.5 * ledger.total


def test_the_choice_against_all_there_are() -> None:
    """Catches: a choice that saves too little, or loses more than the best of all combinations does."""
    generator = np.random.default_rng(0)
    for _ in range(20):
        saved = [np.append(0, generator.uniform(0, 1, 4)) for _ in range(4)]
        losses = [np.append(0, generator.uniform(0, 1, 4)) for _ in range(4)]
        need = float(generator.uniform(0.2, 2))
        every = [(sum(row[i] for row, i in zip(saved, one, strict=True)), sum(row[i] for row, i in zip(losses, one, strict=True)))
                 for one in product(range(5), repeat=4)]  # fmt: skip
        chosen = choose(saved, losses, need)
        assert chosen is not None
        assert sum(row[i] for row, i in zip(saved, chosen, strict=True)) >= need * (1 - 1e-9)
        # What is saved is rounded down by at most four units of 2,000.
        best = min(loss for gain, loss in every if gain >= need * 1.002)
        assert sum(row[i] for row, i in zip(losses, chosen, strict=True)) <= best + 1e-9
    assert choose([np.array([0.0, 1.0])], [np.array([0.0, 1.0])], 2.0) is None
