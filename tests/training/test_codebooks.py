"""Shared values that learn."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from foldpress.codebook_tuning import Tuning, share_parameters
from foldpress.data import Dataset
from foldpress.errors import ModelError
from foldpress.training.codebooks import write_back
from foldpress.training.distillation import distill
from foldpress.training.losses import Loss
from foldpress.training.plan import Plan
from foldpress.training.samples import Pool
from foldpress.training.teachers import Teacher

BITS = {"0.weight": 3, "2.weight": 2}


def network() -> Any:
    torch.manual_seed(0)
    made: Any = nn.Sequential(nn.Linear(20, 30), nn.ReLU(), nn.Linear(30, 5))
    with torch.no_grad():
        made[0].weight[torch.rand(30, 20) < 0.7] = 0
    return made


def values(weight: torch.Tensor) -> int:
    return len(np.unique(weight.detach().numpy()))


def test_weights_start_near_where_they_were() -> None:
    """Catches places of another layer, and zero that is no value of its own."""
    before, after = network(), network()
    share_parameters(after, BITS)
    assert (values(after[0].weight), values(after[2].weight)) == (8, 4)
    for layer in (0, 2):
        one, other = before[layer].weight, after[layer].weight
        torch.testing.assert_close((one == 0), (other == 0))
        assert (one - other).square().sum() < 0.1 * one.square().sum()


def test_the_gradient_of_a_value_is_the_sum_over_its_weights() -> None:
    """Catches values that follow a single weight; the reference is the plain network's own gradient."""
    shared, plain = network(), network()
    share_parameters(shared, BITS)
    with torch.no_grad():
        plain[2].weight.copy_(shared[2].weight)
        plain[0].weight.copy_(shared[0].weight)
    x = torch.randn(7, 20)
    for one in (shared, plain):
        torch.autograd.backward(one(x).square().sum())
    gradient = shared[2].parametrizations.weight.original.grad
    weights, expected = plain[2].weight.detach(), plain[2].weight.grad
    assert expected is not None
    for value, found in zip(weights.unique(), gradient, strict=True):  # values are in order
        torch.testing.assert_close(found, expected[weights == value].sum())


def test_training_keeps_zeros_and_the_number_of_values() -> None:
    """Catches pruned weights that come back, and weights that leave their place."""
    module = network()
    zeros = module[0].weight == 0
    share_parameters(module, BITS)
    optimizer = torch.optim.SGD(module.parameters(), 0.01)
    before = module[0].weight.detach().clone()
    torch.autograd.backward(module(torch.randn(7, 20)).square().sum())
    optimizer.step()
    write_back(module)
    assert copy.deepcopy(module)[0].weight.grad is None
    assert not torch.equal(module[0].weight, before)
    torch.testing.assert_close(module[0].weight == 0, zeros)
    assert values(module[0].weight) <= 8
    assert {name for name, _ in module.named_parameters()} == {name for name, _ in network().named_parameters()}


def test_values_learn_what_sharing_has_cost() -> None:
    """Catches values that stay where k-means has put them, and weights that do not share any more after training."""
    random = np.random.default_rng(0)
    x = random.normal(size=(300, 20)).astype(np.float32)
    teacher, module, untrained = network(), network(), network()
    zeros = module[0].weight == 0
    pool, loss = Pool(Dataset({"input": x})), Loss(gamma=1, classes=False)
    plan = Plan(batch=50, learning_rate=4e-2, held_back=0, patience=None)
    Tuning(bits=2, epochs=20).run(module, dict.fromkeys(BITS, 2), pool, [Teacher(teacher)], loss, plan)
    share_parameters(untrained, dict.fromkeys(BITS, 2))
    wanted = teacher(torch.from_numpy(x))
    errors = [(one(torch.from_numpy(x)) - wanted).square().mean().item() for one in (module, untrained)]
    assert errors[0] < 0.8 * errors[1]
    assert all(values(module[layer].weight) <= 4 for layer in (0, 2))
    torch.testing.assert_close(module[0].weight == 0, zeros)


def test_a_name_that_nobody_has_is_refused() -> None:
    """Catches a layer that silently stays as it is."""
    with pytest.raises(ModelError, match=r"no parameter fc9.weight[\s\S]*0.weight"):
        share_parameters(network(), {"fc9.weight": 4})


def test_one_bit_beside_pruned_weights_leaves_two_values() -> None:
    """Catches a layer whose weights are all one number."""
    module = network()
    share_parameters(module, {"0.weight": 1})
    assert values(module[0].weight) == 3
    assert np.isfinite(module[0].weight.detach().numpy()).all()


def test_the_same_seed_gives_the_same_bits_on_two_threads() -> None:
    """Catches gradients of values that threads add up in the order in which they come."""
    generator = np.random.default_rng(0)
    data = Dataset({"input": generator.normal(size=(128, 64)).astype(np.float32)}, generator.integers(0, 4, 128))
    plan = Plan(epochs=2, learning_rate=1e-3, patience=None, held_back=0)

    def trained() -> torch.Tensor:
        torch.manual_seed(0)
        module: Any = nn.Sequential(nn.Linear(64, 1024), nn.ReLU(), nn.Linear(1024, 4))
        share_parameters(module, {"0.weight": 4})
        distill(module, Pool(data), [], Loss(), plan)
        weight: torch.Tensor = module[0].weight.detach()
        return weight

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert torch.equal(trained(), trained())
    finally:
        torch.set_num_threads(before)
    assert not torch.are_deterministic_algorithms_enabled()
