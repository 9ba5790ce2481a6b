"""Fine-tuning under masks: what is masked stays out, what is cut computes the same, and it helps."""

from collections.abc import Iterator

import numpy as np
import onnx_ir as ir
import pytest
import torch
from torch import nn
from torch.nn import functional

from foldpress.cost import graph_cost
from foldpress.data import Dataset, fit_inputs
from foldpress.finetuning import MaskedNetwork, finetune
from foldpress.graph import initializer, input_specs
from foldpress.optimizer.passes import PassResult
from foldpress.optimizer.press import Press
from foldpress.optimizer.prune import Prune
from foldpress.runtime import open_session, predict
from foldpress.training.distillation import distill
from foldpress.training.losses import Loss
from foldpress.training.plan import Plan
from foldpress.training.samples import Pool
from foldpress.training.teachers import Teacher

PLAN = Plan(epochs=6, batch=50, learning_rate=3e-3, patience=None)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def samples(count: int = 400) -> Dataset:
    """Four classes of noisy 6 × 6 images: a bright quarter, [N, 1, 6, 6]."""
    generator = np.random.default_rng(count)
    labels = generator.integers(0, 4, count)
    images = generator.normal(size=(count, 1, 6, 6)).astype(np.float32)
    for image, label in zip(images, labels, strict=True):
        image[0, label // 2 * 3 :, label % 2 * 3 :][:3, :3] += 1.2
    return Dataset({"image": images}, labels)


class Convolutions(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16)
        self.second, self.other = nn.Conv2d(16, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16)
        self.last = nn.Linear(16 * 9, 4)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        image = functional.max_pool2d(functional.relu(self.norm(self.first(image))), 2)
        scores: torch.Tensor = self.last(functional.relu(self.other(self.second(image))).flatten(1))
        return scores


class Heads(nn.Module):
    """A transformer layer: its heads meet in products of two computed tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(6, 16)
        self.layer = nn.TransformerEncoderLayer(16, 4, 32, dropout=0.0, batch_first=True)
        self.last = nn.Linear(16, 4)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.last(self.layer(self.embed(image[:, 0])).flatten(1).unflatten(1, (6, 16)).mean(1))
        return scores


def trained(kind: type[nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    return distill(kind(), Pool(samples()), [], Loss(), Plan(epochs=8, learning_rate=5e-3)).module


@pytest.fixture(scope="module")
def convolutions() -> nn.Module:
    return trained(Convolutions)


def tuned(
    module: nn.Module, prune: Prune, *, gradual: bool = False, plan: Plan = PLAN
) -> tuple[MaskedNetwork, Press, PassResult]:
    network = MaskedNetwork(module, samples())
    fitted = fit_inputs(samples(), input_specs(network.graph))
    press = Press(network.graph, fitted, np.zeros((1, len(fitted)), np.intp), prune=prune, target=None)
    return (
        network,
        press,
        finetune(network, press, Pool(samples()), [Teacher(module)], Loss(1.0, 2.0), plan, gradual=gradual),
    )


def error(graph: ir.Model, module: nn.Module) -> float:
    """How far its classes' probabilities are from the unpruned network's, on unseen samples: KL."""
    unseen = samples(500)
    with torch.no_grad():
        wanted = torch.log_softmax(module(torch.from_numpy(unseen.inputs["image"])), 1)
    found = torch.log_softmax(torch.from_numpy(predict(open_session(graph), unseen, 100)[0]), 1)
    return float(functional.kl_div(found, wanted, reduction="batchmean", log_target=True))


def test_channels_stay_out_and_the_rest_makes_up_for_them(convolutions: nn.Module) -> None:
    """Catches masks that training undoes (then cutting would change the outputs, and is refused), and training that spoils."""
    network, press, result = tuned(convolutions, Prune("structured", macs=0.25))
    pruned = press.float_graph()
    assert graph_cost(result.model).macs == graph_cost(pruned).macs < 0.26 * graph_cost(network.graph).macs  # type: ignore[operator]
    assert error(result.model, convolutions) < error(pruned, convolutions)
    assert result.log[-1].pass_name == "finetune"


def test_training_starts_from_the_repaired_weights(convolutions: nn.Module) -> None:
    """Catches repaired weights put back in the wrong places: without a step, the graph has to be what pruning gives."""
    still = Plan(epochs=1, learning_rate=1e-9, optimizer=lambda parameters: torch.optim.SGD(parameters, 0.0))
    _, press, result = tuned(convolutions, Prune("structured", macs=0.4), plan=still)
    unseen = samples(100)
    expected, found = (predict(open_session(graph), unseen, 50)[0] for graph in (press.float_graph(), result.model))
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_heads_stay_out() -> None:
    """Catches attention whose channels meet in products, where nothing stored consumes them."""
    module = trained(Heads)
    _network, press, result = tuned(module, Prune("structured", macs=0.4, multiple=1))
    assert any("head" in entry.detail or "channels" in entry.detail for entry in result.log)
    assert graph_cost(result.model).macs == graph_cost(press.float_graph()).macs
    assert error(result.model, module) < error(press.float_graph(), module)


@pytest.mark.parametrize(("prune", "gradual"), [(Prune("2:4"), False), (Prune("unstructured", sparsity=0.8), False),
                                                (Prune("unstructured", sparsity=0.8), True)])  # fmt: skip
def test_single_weights_stay_out(convolutions: nn.Module, prune: Prune, gradual: bool) -> None:
    _, press, result = tuned(convolutions, prune, gradual=gradual)
    pruned = press.float_graph()
    zeros = total = 0
    for node in result.model.graph:
        stored = initializer(result.model, node.inputs[1]) if node.op_type in ("Conv", "Gemm") else None
        if stored is None:
            continue
        zeros, total = zeros + int((stored == 0).sum()), total + stored.size
        same = next(one for one in pruned.graph if one.name == node.name)
        if not gradual:  # growing masks are decided anew
            assert ((stored == 0) == (initializer(pruned, same.inputs[1]) == 0)).all()
    assert zeros / total == pytest.approx(0.8 if prune.sparsity else 0.5, abs=0.035)  # 2:4 declines the first layer
    assert error(result.model, convolutions) < error(pruned, convolutions)
