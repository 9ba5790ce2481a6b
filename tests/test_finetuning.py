"""Fine-tuning under masks: what is masked stays out, what is cut computes the same, and it helps."""

import numpy as np
import onnx_ir as ir
import pytest
import torch
from torch import nn
from torch.nn import functional

from foldpress.codebook_tuning import Tuning
from foldpress.cost import graph_cost
from foldpress.data import Dataset, fit_inputs
from foldpress.exporter.parity import torch_outputs
from foldpress.finetuning import finetune
from foldpress.graph import initializer, input_specs
from foldpress.masked_network import MaskedNetwork
from foldpress.optimizer.groups import find_groups
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


pytestmark = pytest.mark.usefixtures("one_torch_thread")


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


class Attention(nn.Module):
    """Queries and keys of rows: their channels meet in a product of two computed tensors, and no stored weight sums over them."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key = nn.Linear(6, 16), nn.Linear(6, 16)
        self.hidden, self.last = nn.Linear(36, 16), nn.Linear(16, 4)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        met = self.query(image[:, 0]) @ self.key(image[:, 0]).transpose(1, 2)
        scores: torch.Tensor = self.last(functional.relu(self.hidden(met.flatten(1))))
        return scores


def trained(kind: type[nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    return distill(kind(), Pool(samples()), [], Loss(), Plan(epochs=8, learning_rate=5e-3)).module


@pytest.fixture(scope="module")
def convolutions() -> nn.Module:
    return trained(Convolutions)


def opened(module: nn.Module, prune: Prune) -> tuple[MaskedNetwork, Press]:
    network = MaskedNetwork(module, samples())
    fitted = fit_inputs(samples(), input_specs(network.graph))
    return network, Press(network.graph, fitted, np.zeros((1, len(fitted)), np.intp), prune=prune, target=None)


def tuned(network: MaskedNetwork, press: Press, module: nn.Module, *, gradual: bool = False) -> PassResult:
    return finetune(network, press, Pool(samples()), [Teacher(module)], Loss(1.0, 2.0), PLAN, gradual=gradual)


def error(graph: ir.Model, module: nn.Module) -> float:
    """How far its classes' probabilities are from the unpruned network's, on unseen samples: KL."""
    unseen = samples(500)
    with torch.no_grad():
        wanted = torch.log_softmax(module(torch.from_numpy(unseen.inputs["image"])), 1)
    found = torch.log_softmax(torch.from_numpy(predict(open_session(graph), unseen, 100)[0]), 1)
    return float(functional.kl_div(found, wanted, reduction="batchmean", log_target=True))


def test_channels_stay_out_and_the_rest_makes_up_for_them(convolutions: nn.Module) -> None:
    """Catches masks that training undoes (then cutting would change the outputs, and is refused), and training that spoils."""
    network, press = opened(convolutions, Prune("structured", macs=0.25))
    pruned = press.float_graph()
    masks, repaired = press.masked()
    network.take(masks, repaired.model)
    before = torch_outputs(network.module, samples(100))[0]
    expected = predict(open_session(pruned), samples(100), 50)[0]
    np.testing.assert_allclose(
        before, expected, atol=1e-4
    )  # training starts from the repaired weights, in their places
    result = tuned(network, press, convolutions)
    assert graph_cost(result.model).macs == graph_cost(pruned).macs
    assert error(result.model, convolutions) < error(pruned, convolutions)
    assert result.log[-1].pass_name == "finetune"


def test_channels_that_meet_stay_out() -> None:
    """Catches masks on what consumes channels alone: here nothing does, and what makes them has to be masked."""
    module = trained(Attention)
    network, press = opened(module, Prune("structured", macs=0.4))
    pruned, result = press.float_graph(), tuned(network, press, module)
    assert any(group.meetings and group.name in press.masked()[0].channels for group in find_groups(network.graph)[0])
    assert graph_cost(result.model).macs == graph_cost(pruned).macs
    assert error(result.model, module) < error(pruned, module)


@pytest.mark.parametrize(("prune", "gradual"), [(Prune("2:4"), False), (Prune("unstructured", sparsity=0.8), True)])
def test_single_weights_stay_out(convolutions: nn.Module, prune: Prune, gradual: bool) -> None:
    network, press = opened(convolutions, prune)
    pruned, result = press.float_graph(), tuned(network, press, convolutions, gradual=gradual)
    before, after = ({node.name: initializer(graph, node.inputs[1]) for node in graph.graph if node.op_type in ("Conv", "Gemm")}
                     for graph in (pruned, result.model))  # fmt: skip
    zeros = np.concatenate([np.ravel(weight == 0) for weight in after.values()])
    if gradual:
        assert zeros.mean() == pytest.approx(0.8, abs=0.01)
    else:  # growing masks are decided anew; these are not
        assert all(np.array_equal(before[name] == 0, weight == 0) for name, weight in after.items())
        assert 0.45 < zeros.mean() < 0.5  # the first layer sums over nine inputs, no multiple of four
    assert error(result.model, convolutions) < error(pruned, convolutions)


def test_layers_keep_shares_and_bits_of_their_own(convolutions: nn.Module) -> None:
    """Catches: growing masks, or values that learn, by one measure for all layers."""
    prune = Prune("unstructured", sparsity=0.8, layers={"first": 0.0, "last": 0.5})
    network, press = opened(convolutions, prune)
    tuning = Tuning(bits=2, epochs=1, layers={"first": 4})
    result = finetune(network, press, Pool(samples()), [Teacher(convolutions)], Loss(1.0, 2.0), PLAN,
                      gradual=True, tuning=tuning).model  # fmt: skip
    layers = [node for node in result.graph if node.op_type in ("Conv", "Gemm")]
    first, second, last = (np.array(initializer(result, node.inputs[1])) for node in layers)
    shares = [float(np.mean(weight == 0)) for weight in (first, second, last)]
    assert shares == pytest.approx([0, 0.8, 0.5], abs=0.01)
    assert 4 < len(np.unique(first)) <= 16
    assert all(len(np.unique(weight)) <= 4 for weight in (second, last))
