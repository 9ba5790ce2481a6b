"""The pass on a trained network, and on graphs where it must decline."""

import numpy as np
import onnx_ir as ir
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from foldpress.cost import graph_cost
from foldpress.data import Dataset
from foldpress.errors import RequestError
from foldpress.graph import copy_graph, set_initializer
from foldpress.optimizer.factorize.factorize import Factorize, with_factors
from foldpress.optimizer.factorize.forms import Method, factorizable
from foldpress.optimizer.gram import collect_grams
from foldpress.optimizer.influence import Outputs
from foldpress.optimizer.passes import apply
from foldpress.runtime import open_session, predict
from topologies import Weights, graph

SEEN = np.arange(200)
UNSEEN = np.arange(200, 1000)
Grams = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def data() -> Dataset:
    pixels, labels = load_digits(return_X_y=True)
    return Dataset({"x": (pixels / 16).astype(np.float32).reshape(-1, 1, 8, 8)}, labels.astype(np.int64))


@pytest.fixture(scope="module")
def network(data: Dataset) -> ir.Model:
    """Two convolutions of random weights that are alike, a dense layer, and logistic regression on it."""
    body = """a = Conv<pads=[1,1,1,1]>(x, w1, b1)  ra = Relu(a)  b = Conv<pads=[1,1,1,1], strides=[2,2]>(ra, w2, b2)  rb = Relu(b)
              f = Flatten(rb)  c = Gemm(f, w3, b3)  rc = Relu(c)  y = Gemm(rc, w4, b4)"""
    weights: Weights = {"w1": (12, 1, 3, 3), "b1": (12,), "w2": (16, 12, 3, 3), "b2": (16,), "w3": (256, 64), "b3": (64,),
                        "w4": (64, 10), "b4": (10,)}  # fmt: skip
    model = graph(body, weights, "float[N, 1, 8, 8]", "float[N, 10]")
    generator = np.random.default_rng(0)
    for name in weights:
        shape = model.graph.initializers[name].shape
        assert shape is not None
        set_initializer(model, name, generator.normal(size=shape.numpy(), scale=0.5).astype(np.float32))
    model.graph.outputs[0] = next(node for node in model.graph if node.name == "rc").outputs[0]
    features = predict(open_session(model), data, 64)[0]
    readout = LogisticRegression(max_iter=3000).fit(features[1000:], data.y[1000:])
    set_initializer(model, "w4", readout.coef_.T.astype(np.float32))
    set_initializer(model, "b4", readout.intercept_.astype(np.float32))
    model.graph.outputs[0] = next(node for node in model.graph if node.name == "y").outputs[0]
    return model


def learned(model: ir.Model, samples: Dataset) -> Grams:
    slots = [layer.slot for layer, _ in factorizable(model)[0].values()]
    return collect_grams(model, slots, samples, np.zeros((1, len(samples)), np.intp)).all()


@pytest.fixture(scope="module")
def grams(network: ir.Model, data: Dataset) -> Grams:
    return learned(network, data.select(SEEN))


@pytest.mark.parametrize(
    ("kind", "budget", "method", "drop"),
    [
        ("macs", 0.5, "auto", 0.02),
        ("bytes", 0.6, "auto", 0.03),
        ("parameters", 0.97, "tucker", 0.02),
        ("macs", 0.8, "depthwise", 0.05),
    ],
)
def test_the_budget_is_met_and_unseen_samples_are_right(
    kind: str, budget: float, method: Method, drop: float, network: ir.Model, data: Dataset, grams: Grams
) -> None:
    """Catches: a budget missed; weights that fit only what they were fitted to; a layer without a line in the log."""
    asked = Factorize(kind, budget, grams, data.select(SEEN), method)  # type: ignore[arg-type]
    result = apply([asked], network)
    before, after = graph_cost(network), graph_cost(result.model)
    left = sum(getattr(one, kind) for one in after.layers) / sum(getattr(one, kind) for one in before.layers)
    assert budget - 0.15 < left <= budget
    unseen = data.select(UNSEEN)
    right = [
        (predict(open_session(model), unseen, 64)[0].argmax(1) == unseen.y).mean() for model in (network, result.model)
    ]
    assert right[0] > 0.8
    assert right[1] >= right[0] - drop
    assert {one.name for one in before.layers} == {entry.subject for entry in result.log}
    done = [entry for entry in result.log if entry.action == "done"]
    assert all(method in ("auto", entry.detail.split()[0]) for entry in done)
    assert len(after.layers) == len(before.layers) + sum(3 if "tucker" in one.detail else 2 for one in done) - len(done)


def test_repair_makes_up_for_what_the_layers_before_have_lost(network: ir.Model, data: Dataset, grams: Grams) -> None:
    """Catches: layers fitted to inputs that they do not get any more."""
    asked = Factorize("macs", 0.4, grams, data.select(SEEN))
    model = copy_graph(network)
    alone = with_factors(model, asked.decide(model), {})
    together = apply([asked], network).model
    outputs = Outputs(network, data.select(UNSEEN))
    assert outputs.error(together) < 0.8 * outputs.error(alone)


def test_what_was_learned_of_other_samples_gives_other_factors(network: ir.Model, data: Dataset) -> None:
    """Catches: weights factorized as they stand, whatever their inputs are."""
    made = []
    for rows in (np.arange(100), np.arange(100, 200)):
        samples = data.select(rows)
        asked = Factorize("macs", 0.7, learned(network, samples), samples)
        made.append(predict(open_session(apply([asked], network).model), samples, 64)[0])
    assert not np.array_equal(made[0], made[1])


def test_a_budget_that_cannot_be_met_says_what_can(network: ir.Model, data: Dataset, grams: Grams) -> None:
    """Catches: a silent stop above the budget; advice that fails in its turn."""
    few = data.select(np.arange(20))
    with pytest.raises(RequestError, match=r"macs = 0.001 cannot be met: .* factorized allow 0\.\d+") as raised:
        apply([Factorize("macs", 0.001, grams, few)], network)
    advice = float(str(raised.value).split("ask for macs = ")[1].split()[0])
    assert apply([Factorize("macs", advice, grams, few)], network).log


def test_nothing_to_factorize_says_why() -> None:
    """Catches: the graph given back as if it were factorized; a protected layer that is not."""
    weights: Weights = {"w": (6, 40), "v": (40, 5)}
    model = graph("a = MatMul(x, w)  y = MatMul(a, v)", weights, "float[N, 6]", "float[N, 5]")
    samples = Dataset({"x": np.random.default_rng(0).normal(size=(30, 6)).astype(np.float32)})
    with pytest.raises(RequestError, match=r"no layer .* with method = 'tucker'\n.*single tap"):
        apply([Factorize("macs", 0.9, {}, samples, "tucker")], model)
    with pytest.raises(RequestError, match="is to stay as it is"):
        apply([Factorize("macs", 0.9, {}, samples, protect=("a", "y"))], model)
    with pytest.raises(RequestError, match="there is no layer b"):
        apply([Factorize("macs", 0.9, {}, samples, protect=("b",))], model)


def test_layers_that_are_not_taken_say_what_they_would_cost(network: ir.Model, data: Dataset, grams: Grams) -> None:
    """Catches: a reason without a figure."""
    log = apply([Factorize("macs", 0.9, grams, data.select(SEEN))], network).log
    passed = [entry.detail for entry in log if "other layers give more" in entry.detail]
    assert passed
    assert all("of its macs at an error of" in detail for detail in passed)
