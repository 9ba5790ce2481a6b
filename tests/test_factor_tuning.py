"""Factors that learn: they stay factors, factorization finds them again, and it helps."""

from dataclasses import replace

import numpy as np
import onnx_ir as ir
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional

from foldpress.cost import graph_cost
from foldpress.data import Dataset, fit_inputs
from foldpress.errors import RequestError
from foldpress.finetuning import finetune
from foldpress.graph import input_specs
from foldpress.masked_network import MaskedNetwork
from foldpress.optimizer.factorize.forms import Method
from foldpress.optimizer.factorize.request import Factorization
from foldpress.optimizer.passes import PassResult
from foldpress.optimizer.press import Press
from foldpress.optimizer.prune import Prune
from foldpress.runtime import open_session, predict
from foldpress.training.distillation import distill
from foldpress.training.losses import Loss
from foldpress.training.plan import Plan
from foldpress.training.samples import Pool
from foldpress.training.teachers import Teacher

PLAN = Plan(epochs=8, batch=50, learning_rate=1e-3, patience=None)


pytestmark = pytest.mark.usefixtures("one_torch_thread")


TRAINED_ON = 1000


def images(rows: slice) -> Dataset:
    """Handwritten digits, [N, 1, 8, 8]."""
    pixels, labels = load_digits(return_X_y=True)
    return Dataset({"image": (pixels[rows] / 8 - 1).reshape(-1, 1, 8, 8).astype(np.float32)}, labels[rows])


def samples() -> Dataset:
    """Those that are learned from."""
    return images(slice(TRAINED_ON))


def unseen() -> Dataset:
    """All others."""
    return images(slice(TRAINED_ON, None))


class Convolutions(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16)
        self.second, self.other = nn.Conv2d(16, 24, 3, padding=1, bias=False), nn.BatchNorm2d(24)
        self.hidden, self.last = nn.Linear(24 * 16, 48), nn.Linear(48, 10)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        image = functional.max_pool2d(functional.relu(self.norm(self.first(image))), 2)
        inner = functional.relu(self.other(self.second(image))).flatten(1)
        scores: torch.Tensor = self.last(functional.relu(self.hidden(inner)))
        return scores


class Attention(nn.Module):
    """Queries, keys and values are parts of one parameter; one matrix is read twice."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.attend = nn.Linear(8, 32), nn.MultiheadAttention(32, 2, batch_first=True)
        self.twice, self.last = nn.Linear(32, 32), nn.Linear(32, 10)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        rows = self.embed(image[:, 0])
        rows = rows + self.attend(rows, rows, rows, need_weights=False)[0]
        rows = functional.relu(self.twice(functional.relu(self.twice(rows))))
        scores: torch.Tensor = self.last(rows.mean(1))
        return scores


def trained(kind: type[nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    return distill(kind(), Pool(samples()), [], Loss(), Plan(epochs=12, learning_rate=3e-3)).module


@pytest.fixture(scope="module")
def convolutions() -> nn.Module:
    return trained(Convolutions)


def opened(module: nn.Module, factorize: Factorization, prune: Prune | None = None) -> tuple[MaskedNetwork, Press]:
    network = MaskedNetwork(module, samples())
    fitted = fit_inputs(samples(), input_specs(network.graph))
    numbers = np.zeros((1, len(fitted)), np.intp)
    return network, Press(network.graph, fitted, numbers, prune=prune, factorize=factorize, target=None)


def tuned(network: MaskedNetwork, press: Press, module: nn.Module, plan: Plan = PLAN) -> PassResult:
    return finetune(network, press, Pool(samples()), [Teacher(module)], Loss(1.0, 2.0), plan, factors=True)


def scores(graph: ir.Model, data: Dataset) -> np.ndarray:
    return predict(open_session(graph), data, 100)[0]


def error(graph: ir.Model, module: nn.Module) -> float:
    """How far its classes' probabilities are from the first network's, on the samples that it learns from: KL."""
    with torch.no_grad():
        wanted = torch.log_softmax(module(torch.from_numpy(samples().inputs["image"])), 1)
    found = torch.log_softmax(torch.from_numpy(scores(graph, samples())), 1)
    return float(functional.kl_div(found, wanted, reduction="batchmean", log_target=True))


def macs(graph: ir.Model) -> int:
    return sum(layer.macs or 0 for layer in graph_cost(graph).layers)


def same(one: ir.Model, other: ir.Model) -> None:
    """On samples that neither has learned from."""
    mine, right = (scores(graph, unseen()) for graph in (one, other))
    np.testing.assert_allclose(mine, right, atol=1e-3 * float(np.abs(right).max()))


@pytest.mark.parametrize(
    ("method", "share", "prune"),
    [
        ("auto", 0.25, None),
        ("separable", 0.5, None),
        ("tucker", 0.45, None),
        ("kronecker", 0.85, None),
        ("auto", 0.7, Prune("structured", macs=0.6)),
    ],
)
def test_factors_that_have_learned_are_found_again(
    method: Method, share: float, prune: Prune | None, convolutions: nn.Module
) -> None:
    """Catches: products that training takes apart; numbers in other places; another form or rank chosen afterwards."""
    network, press = opened(convolutions, Factorization(method, macs=share), prune)
    plain = press.float_graph()
    learned = tuned(network, press, convolutions).model
    found = press.unpruned_of(learned).float_graph()
    assert macs(found) <= share * macs(learned)
    same(found, learned)
    assert error(found, convolutions) < error(plain, convolutions)


def test_training_starts_where_factorization_ends(convolutions: nn.Module) -> None:
    """Catches: factors that start elsewhere; repair of the layers behind them that is lost."""
    network, press = opened(convolutions, Factorization(macs=0.5))
    same(tuned(network, press, convolutions, replace(PLAN, epochs=1, learning_rate=1e-12)).model, press.float_graph())


def test_parts_of_one_parameter_are_products_of_their_own() -> None:
    """Catches: queries with the rank of keys; a matrix that two layers read, as two products."""
    module = trained(Attention)
    network, press = opened(module, Factorization(method="low-rank", parameters=0.5))
    result = tuned(network, press, module)
    learned = [entry for entry in result.log if "learn" in entry.detail]
    assert len(learned) > 1
    found = press.unpruned_of(result.model).float_graph()
    same(found, result.model)
    assert error(found, module) < error(press.float_graph(), module)


def test_a_budget_that_cannot_be_met_is_an_error(convolutions: nn.Module) -> None:
    """Catches: training for hours towards something else."""
    network, press = opened(convolutions, Factorization("low-rank", macs=0.01))
    with pytest.raises(RequestError, match=r"macs = 0\.01"):
        tuned(network, press, convolutions)
