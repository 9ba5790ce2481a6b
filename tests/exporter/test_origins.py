"""Which parameter every stored number comes from, and batch normalization folded in PyTorch: against the graph itself."""

import copy

import numpy as np
import onnx_ir as ir
import pytest
import torch
from torch import nn
from torch.nn import functional

from foldpress.data import Dataset
from foldpress.errors import ModelError
from foldpress.exporter.export import export_model
from foldpress.exporter.fusing import fuse_batch_norm
from foldpress.exporter.origins import find_origins
from foldpress.exporter.parity import torch_outputs
from foldpress.graph import initializer
from foldpress.optimizer.cleanup import clean_up
from foldpress.optimizer.passes import apply

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def cleaned(graph: ir.Model) -> ir.Model:
    return apply(clean_up(), graph).model


class Mixed(nn.Module):
    """Convolutions with batch normalization, attention whose weights are sliced, an LSTM whose gates are reordered."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.second = nn.Conv2d(8, 8, 3, padding=1, groups=4, bias=False)
        self.other = nn.BatchNorm2d(8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.recurrent = nn.LSTM(8, 6, batch_first=True)
        self.last = nn.Linear(6, 3)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        image = functional.relu(self.norm(self.first(image)))
        steps = self.other(self.second(image)).flatten(2).transpose(1, 2)
        steps = steps + self.attention(steps, steps, steps, need_weights=False)[0]
        scores: torch.Tensor = self.last(self.recurrent(steps)[0][:, -1])
        return scores


def lively(model: nn.Module) -> nn.Module:
    """Statistics, scales and biases that are no ones and zeros, as after training: biases of zero are simplified away."""
    torch.manual_seed(0)
    for name, parameter in model.named_parameters():
        if "bias" in name:
            nn.init.normal_(parameter)
    for norm in (one for one in model.modules() if isinstance(one, nn.BatchNorm2d)):
        assert norm.running_mean is not None
        assert norm.running_var is not None
        for tensor in (norm.running_mean, norm.weight.data):
            nn.init.normal_(tensor, 0.5)
        nn.init.uniform_(norm.running_var, 0.5, 2.0)
    return model.eval()


def images() -> Dataset:
    return Dataset({"image": np.random.default_rng(0).normal(size=(8, 1, 4, 4)).astype(np.float32)})


def test_every_stored_weight_is_traced() -> None:
    """The reference: the parameter's own value stands where the origin says. Catches slices, transposes and gates mixed up."""
    model = lively(Mixed())
    fuse_batch_norm(model, images())
    graph = cleaned(export_model(model, images()).graph)
    origins = find_origins(model, images(), cleaned)
    flat = np.concatenate([one.detach().numpy().ravel() for one in model.parameters()])
    assert origins.count == len(flat)
    traced = set()
    for node in graph.graph:
        for position, value in enumerate(node.inputs):
            stored = initializer(graph, value)
            if stored is not None and stored.dtype.kind == "f" and stored.size > 1:
                numbers = origins.at((str(node.name), position), np.ones(stored.shape, bool))
                np.testing.assert_array_equal(flat[numbers], stored.ravel())
                traced |= set(numbers)
    assert len(traced) == len(flat)


def test_large_networks_are_numbered_in_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches digits that are put together wrongly: float32 tells 4 million numbers apart, and networks have more."""
    model, data = (
        nn.Sequential(nn.Linear(5, 40), nn.ReLU(), nn.Linear(40, 3)),
        Dataset({"input": np.zeros((4, 5), np.float32)}),
    )
    whole = find_origins(model, data, cleaned)
    monkeypatch.setattr("foldpress.exporter.origins._ROOM", 2**20)  # digits of 16
    digits = find_origins(model, data, cleaned)
    assert whole.of.keys() == digits.of.keys()
    assert all((whole.of[place] == digits.of[place]).all() for place in whole.of)


def test_weights_that_forward_computes_are_refused() -> None:
    model = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(5, 4)), nn.ReLU(), nn.Linear(4, 3))
    data = Dataset({"input": np.zeros((4, 5), np.float32)})
    node = next(iter(cleaned(export_model(model, data).graph).graph))
    origins = find_origins(model, data, cleaned)
    with pytest.raises(ModelError, match=f"node {node.name} cannot be traced"):
        origins.at((str(node.name), 1), np.ones((4, 5), bool))


def test_folded_normalization_computes_the_same() -> None:
    model = lively(Mixed())
    folded = copy.deepcopy(model)
    fuse_batch_norm(folded, images())
    assert not any(isinstance(one, nn.BatchNorm2d) for one in folded.modules())
    np.testing.assert_allclose(torch_outputs(folded, images())[0], torch_outputs(model, images())[0], atol=1e-5)


def test_what_normalizes_something_else_stays() -> None:
    """Catches a fold of a layer that is called twice, or whose output goes elsewhere first."""

    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.norm, self.early = nn.Conv2d(1, 1, 3, padding=1), nn.BatchNorm2d(1), nn.BatchNorm2d(1)

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            scores: torch.Tensor = self.norm(self.layer(self.layer(self.early(image)))).flatten(1)
            return scores

    model = lively(Twice())
    expected = torch_outputs(model, images())[0]
    fuse_batch_norm(model, images())
    assert sum(isinstance(one, nn.BatchNorm2d) for one in model.modules()) == 2
    np.testing.assert_array_equal(torch_outputs(model, images())[0], expected)
