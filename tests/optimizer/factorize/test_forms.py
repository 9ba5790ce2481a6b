"""Every form on every kind of layer: the factors at full rank are the layer, and the chain computes what the factors say."""

import numpy as np
import pytest

from foldpress.graph import copy_graph, initializer
from foldpress.optimizer.factorize.form import Form, Rank, Shape, stepped, weight_shape
from foldpress.optimizer.factorize.forms import FORMS, Option, factorizable
from foldpress.optimizer.factorize.kronecker import split
from foldpress.optimizer.factorize.part import replace_layer
from foldpress.optimizer.factorize.product import Product
from layer_problems import LAYERS, layer, problem
from topologies import Weights, graph, outputs, samples

PAIRS = [(form, name) for form in FORMS for name in LAYERS if form.why_not(layer(name)[1]) is None]


def full_rank(form: Form, shape: Shape) -> Rank:
    """At which nothing is lost."""
    count = int(np.prod(shape[2:]))
    (c, a), (b, d) = split(shape[0]), split(shape[1])
    return {
        "low-rank": (min(shape[0], int(np.prod(shape[1:]))),),
        "separable": (min(shape[0] * shape[-1], shape[1] * shape[2]) if len(shape) > 2 else 0,),
        "tucker": (shape[0], shape[1]),
        "depthwise": (count,),
        "kronecker": (min(a * b, c * d),),
    }[form.name]


def test_each_form_has_layers() -> None:
    """Catches: a form that declines everything, so that nothing below tests it."""
    assert {form.name for form, _ in PAIRS} == {form.name for form in FORMS}
    assert len(PAIRS) == 10 + 4 + 5 + 5 + 4


@pytest.mark.parametrize(("form", "name"), PAIRS, ids=[f"{form.name}-{name}" for form, name in PAIRS])
def test_the_chain_computes_the_product(form: Form, name: str) -> None:
    """Catches: pads, strides or dilations on the wrong axis; a bias lost or added twice; a transposition forgotten."""
    model, found = layer(name)
    shape = weight_shape(found)
    option = Option(form, (form.ranks(shape) or [full_rank(form, shape)])[-1])
    generator = np.random.default_rng(0)
    empty = form.empty(shape, option.rank)
    product = Product(empty.spec, tuple(generator.normal(size=one.shape) for one in empty.factors))
    dense, chain = copy_graph(model), copy_graph(model)
    found.store(dense, product.dense()[None])
    replace_layer(chain, found, option, product)
    feed = samples(model)
    (expected,), (mine,) = outputs(dense, feed), outputs(chain, feed)
    np.testing.assert_allclose(mine, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())
    assert str(found.weight.name) not in chain.graph.initializers
    assert all(node.name and node.outputs[0].name for node in chain.graph)


@pytest.mark.parametrize(("form", "name"), PAIRS, ids=[f"{form.name}-{name}" for form, name in PAIRS])
def test_at_full_rank_nothing_is_lost(form: Form, name: str) -> None:
    """Catches: a start that leaves something out; reshapes that mix up axes."""
    shape = weight_shape(layer(name)[1])
    made, _ = problem(shape)
    product = form.start(made, shape, full_rank(form, shape))
    assert [one.shape for one in product.factors] == [
        one.shape for one in form.empty(shape, full_rank(form, shape)).factors
    ]
    assert made.error(product.dense()) < 1e-5
    np.testing.assert_allclose(product.dense(), made.weight, atol=0.05)


@pytest.mark.parametrize(("form", "name"), PAIRS, ids=[f"{form.name}-{name}" for form, name in PAIRS])
def test_ranks_have_fewer_parameters_and_less_error_the_larger_they_are(form: Form, name: str) -> None:
    """Catches: ranks that save nothing; a start that does not get better with rank."""
    shape = tuple(size * (4 if axis < 2 else 1) for axis, size in enumerate(weight_shape(layer(name)[1])))
    made, _ = problem(shape)
    products = [form.start(made, shape, rank) for rank in form.ranks(shape)]
    assert products
    assert all(one.parameters < np.prod(shape) for one in products)
    errors = [made.error(one.dense()) for one in products]
    assert errors == sorted(errors)
    assert errors[-1] < 1


def test_the_error_of_low_rank_is_the_tail_of_the_singular_values() -> None:
    """Catches: any other choice than the best, on the raw outputs."""
    made, rows = problem((16, 24))
    outputs_ = rows @ made.weight.T
    values = np.square(np.linalg.svd(outputs_ - outputs_.mean(0), compute_uv=False))
    for rank in (2, 5, 9):
        error = made.error(FORMS[0].start(made, (16, 24), (rank,)).dense())
        assert error == pytest.approx(values[rank:].sum() / values.sum(), rel=2e-2)


def test_inner_outputs_of_low_rank_vary_alike() -> None:
    """Catches: principal components of which int8 with one scale would lose all but the first."""
    made, rows = problem((16, 24))
    inner = rows @ FORMS[0].start(made, (16, 24), (8,)).factors[0].T
    np.testing.assert_allclose(inner.std(0), 1, rtol=0.02)


@pytest.mark.parametrize(
    ("form", "shape", "factors"),
    [
        ("separable", (8, 6, 3, 3), ((4, 6, 3), (8, 4, 3))),
        ("tucker", (8, 6, 3, 3), ((3, 6), (4, 3, 9), (8, 4))),
        ("depthwise", (8, 6, 3, 3), ((6, 2, 9), (8, 6, 2))),
        ("kronecker", (24, 20), ((2, 6, 4), (2, 4, 5))),
    ],
)
def test_a_layer_that_has_the_form_is_found_exactly(form: str, shape: Shape, factors: tuple[Shape, ...]) -> None:
    """Catches: a decomposition that misses what is there to be found."""
    kind = next(one for one in FORMS if one.name == form)
    rank = {"separable": (4,), "tucker": (4, 3), "depthwise": (2,), "kronecker": (2,)}[form]
    generator = np.random.default_rng(3)
    true = Product(kind.empty(shape, rank).spec, tuple(generator.normal(size=one) for one in factors))
    made, _ = problem(shape)
    exact = type(made)(true.dense(), made.metric, made.mean, float(np.sum((true.dense() @ made.metric) * true.dense())))
    assert exact.error(kind.start(exact, shape, rank).dense()) < 1e-4


def test_ranks_step_evenly_and_stay_few() -> None:
    """Catches: a rank at or above the limit; dozens of graphs to time for a wide layer."""
    assert stepped(10.5) == [8, 4]
    assert stepped(8) == [4]
    assert stepped(57.6) == [56, 48, 40, 32, 24, 16, 8]
    assert len(stepped(1000)) <= 8


def test_layers_without_options_say_why() -> None:
    """Catches: a layer that is passed over in silence."""
    body = """a = Conv<group=4>(x, wa)  b = Conv(a, wb)  f = Flatten(b)  c = MatMul(f, wc)  d = MatMul(c, wd)
              t = Transpose(d)  e = MatMul(d, t)  y = Neg(e)"""
    weights: Weights = {"wa": (4, 1, 3, 3), "wb": (16, 4, 3, 3), "wc": (64, 8), "wd": (8, 2)}
    model = graph(body, weights, "float[N, 4, 6, 6]", "float[N, N]")
    found, declined = factorizable(model, protect=["b"])
    assert list(found) == ["c"]
    assert dict(declined) == {
        "a": "each of its groups has a few channels of its own",
        "b": "it is to stay as it is",
        "d": "at every rank its factors would have as many parameters",
        "e": "its weight is computed, not stored",
    }
    assert "a convolution" in dict(factorizable(model, "kronecker")[1])["b"]
    assert initializer(model, model.graph.initializers["wc"]) is not None
