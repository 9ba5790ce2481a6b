"""Alternating least squares against numpy's lstsq on a matrix that has a column for every entry of a factor."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foldpress.optimizer.factorize.fitting import fit, own_output, refit
from foldpress.optimizer.factorize.problem import Problem
from foldpress.optimizer.factorize.product import Product
from layer_problems import problem

SIZES = {"m": 4, "c": 3, "i": 2, "j": 3, "t": 3, "u": 2, "r": 2, "p": 3, "q": 2, "a": 3, "b": 2, "d": 4}
SPECS = ["rd,mr->m|d", "rci,mrj->m|cij", "qc,pqt,mp->m|ct", "cut,mcu->m|ct", "rab,rcd->ca|bd"]


def drawn(spec: str, seed: int = 0) -> tuple[Product, Problem]:
    generator = np.random.default_rng(seed)
    labels = spec.split("->")[0].split(",")
    product = Product(spec, tuple(generator.normal(size=[SIZES[label] for label in one]) for one in labels))
    return product, problem(product.dense().shape, seed)[0]


def best_error(product: Product, made: Problem, number: int) -> float:
    """Entry by entry: the weight is linear in a factor, so each entry has a column."""
    half = np.linalg.cholesky(made.metric)
    shape = product.factors[number].shape
    entries = (one.reshape(shape) for one in np.eye(int(np.prod(shape))))
    columns = np.stack([(product.with_factor(number, one).dense() @ half).ravel() for one in entries], 1)
    target = (made.weight @ half).ravel()
    solved = np.linalg.lstsq(columns, target, rcond=None)[0]
    return float(np.square(columns @ solved - target).sum() / made.energy)


@pytest.mark.parametrize("spec", SPECS)
def test_each_factor_comes_to_the_best_there_is(spec: str) -> None:
    """Catches: axes in another order than the labels say; a metric applied to the wrong side."""
    product, made = drawn(spec)
    for number in range(len(product.factors)):
        found = product
        for _ in range(1 if own_output(product, number) else 30):
            found = refit(found, made, number)
        best = best_error(product, made, number)
        assert made.error(found.dense()) == pytest.approx(best, rel=1e-2)
        assert made.error(product.dense()) > 1.05 * best


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(SPECS), st.integers(0, 2**16))
def test_the_error_never_grows(spec: str, seed: int) -> None:
    """Catches: a step of one factor that spoils what the others have reached."""
    product, made = drawn(spec, seed)
    errors = [made.error(product.dense())]
    for number in (*range(len(product.factors)), *range(len(product.factors))):
        product = refit(product, made, number)
        errors.append(made.error(product.dense()))
    assert all(after <= before * (1 + 1e-6) + 1e-9 for before, after in pairwise(errors))


def test_what_is_a_product_is_found_again() -> None:
    """Catches: a fit that stops short of an exact solution near which it starts."""
    product, made = drawn("rci,mrj->m|cij")
    exact = Problem(
        product.dense(), made.metric, made.mean, float(np.sum((product.dense() @ made.metric) * product.dense()))
    )
    generator = np.random.default_rng(1)
    start = Product(product.spec, tuple(one + 0.1 * generator.normal(size=one.shape) for one in product.factors))
    assert exact.error(start.dense()) > 1e-3
    assert exact.error(fit(start, exact, 20).dense()) < 1e-6
