"""The least-squares problem of a layer against the rows that it stands for."""

import numpy as np
import pytest

from foldpress.optimizer.factorize.problem import make_problem, principal_inputs
from layer_problems import problem

RNG = np.random.default_rng(0)


def test_the_error_is_that_of_the_outputs_with_the_best_bias() -> None:
    """Catches: a mean counted as damage, or forgotten in the bias; an error that is not relative to what the outputs vary by."""
    made, rows = problem((5, 12))
    other = made.weight + 0.3 * RNG.normal(size=made.weight.shape)
    wanted, found = rows @ made.weight.T, rows @ other.T + made.bias_change(other)
    true = np.square(wanted - found).sum() / np.square(wanted - wanted.mean(0)).sum()
    assert made.error(other) == pytest.approx(true, rel=1e-2)  # the ridge
    np.testing.assert_allclose((wanted - found).mean(0), 0, atol=1e-9)


def test_without_a_bias_the_mean_counts() -> None:
    """Catches: a change of the mean that nothing can make up for taken for free."""
    centred, rows = problem((5, 12))
    made = make_problem(centred.weight, rows.T @ rows / len(rows))
    other = 1.1 * made.weight
    assert not made.bias_change(other).any()
    assert made.error(other) == pytest.approx(0.01)
    assert made.energy > centred.energy


@pytest.mark.parametrize("shape", [(6, 15), (15, 6)])
@pytest.mark.parametrize("rank", [1, 3, 6])
def test_principal_inputs_leave_the_smallest_singular_values(shape: tuple[int, int], rank: int) -> None:
    """Catches: directions of the weight instead of the outputs; the shorter side taken for the longer."""
    made, rows = problem(shape)
    inner = rows @ principal_inputs(made.weight, made.metric, rank).T
    outputs = rows @ made.weight.T
    inner, outputs = inner - inner.mean(0), outputs - outputs.mean(0)
    left = np.square(outputs - inner @ np.linalg.lstsq(inner, outputs, rcond=None)[0]).sum()
    tail = np.square(np.linalg.svd(outputs, compute_uv=False)[rank:]).sum()
    assert left == pytest.approx(tail, rel=2e-2, abs=1e-9 * np.square(outputs).sum())
