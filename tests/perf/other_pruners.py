"""onnxsim's and Torch-Pruning's structured pruning, without labels and without training, for `pruning_others.py`.

Each tool takes a share of channels to remove. Where an importance needs labels, it gets the network's own answers.
"""

import copy
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from torch.func import functional_call, grad, vmap

from foldpress.cost import graph_cost
from foldpress.data import Dataset
from foldpress.exporter.export import export_model
from foldpress.graph import serialize
from foldpress.optimizer.cleanup import clean_up
from foldpress.optimizer.passes import apply
from foldpress.runtime import open_session, predict

KINDS = ("macs", "parameters")
MATRICES = (torch.nn.Conv2d, torch.nn.Linear)


@dataclass(frozen=True)
class Pruned:
    """What a tool made: its size, its scores of any data, and itself as a graph."""

    size: dict[str, float]
    scores: Callable[[Dataset], Any]
    graph: Callable[[], ir.Model]


Maker = Callable[[float], Pruned]


def by_onnxsim(start: ir.Model, calibration: Dataset) -> dict[str, list[Maker]]:
    """Its two structured passes, each with a ranking of channels for each layer and with one for all."""
    onnxsim = importlib.import_module("onnxsim")
    feeds = list(calibration.batches(64))

    def maker(function: Any, **options: Any) -> Maker:
        def make(share: float) -> Pruned:
            made = function(ir.to_proto(start), sparsity=share, **options)
            del made.graph.value_info[:]  # it leaves the shapes that weights had before
            graph = apply(clean_up(), ir.from_proto(made)).model
            return Pruned(graph_size(graph), lambda data: graph_scores(graph, data), lambda: graph)

        return make

    rankings = [{"global_sparsity": one_for_all} for one_for_all in (False, True)]
    l2, wanda = onnxsim.apply_structured_pruning, onnxsim.apply_structured_wanda_pruning
    return {
        "onnxsim L2": [maker(l2, **ranking) for ranking in rankings],
        "onnxsim Wanda": [maker(wanda, calibration_data=feeds, **ranking) for ranking in rankings],
    }


def by_torch_pruning(network: torch.nn.Module, inner: list[str], calibration: Dataset) -> dict[str, list[Maker]]:
    """Its pruner with three importances; a ranking for each layer or one for all; all channels or those of `inner` alone."""
    tp = importlib.import_module("torch_pruning")
    first, second = gradients(network, calibration)
    importances = {
        "Torch-Pruning magnitude": (tp.importance.GroupMagnitudeImportance(), first),
        "Torch-Pruning Taylor": (tp.importance.GroupTaylorImportance(), first),
        "Torch-Pruning Hessian": (tp.importance.GroupHessianImportance(), second),
    }
    layers = [name for name, module in network.named_modules() if isinstance(module, MATRICES)]
    last = layers[-1]
    kept = [[last], [name for name in layers if name not in inner]]

    def maker(importance: Any, slopes: list[Any], one_for_all: bool, left_alone: list[str]) -> Maker:
        def make(share: float) -> Pruned:
            made = copy.deepcopy(network)
            for parameter, slope in zip(made.parameters(), slopes, strict=True):
                parameter.grad = slope.clone()
            ignored = [made.get_submodule(name) for name in left_alone]
            pruner = tp.pruner.BasePruner(made, example, importance, one_for_all, share, ignored_layers=ignored)
            pruner.step()
            return Pruned(
                network_size(made, example),
                lambda data: network_scores(made, data),
                lambda: apply(clean_up(), export_model(made, calibration).graph).model,
            )

        return make

    example = torch.from_numpy(next(iter(calibration.batch(slice(0, 1)).values())))
    return {
        name: [maker(*found, one_for_all, left_alone) for one_for_all in (False, True) for left_alone in kept]
        for name, found in importances.items()
    }


def gradients(network: torch.nn.Module, calibration: Dataset) -> tuple[list[Any], list[Any]]:
    """Mean gradient of the loss by each parameter, and the mean over samples of its square; the answers are the labels.

    The squares are summed here: `GroupHessianImportance.accumulate_grad` of 1.6.1 keeps those of the last sample alone.
    """
    parameters = {name: value.detach() for name, value in network.named_parameters()}

    def loss(values: Any, image: Any, answer: Any) -> Any:
        scores = functional_call(network, values, (image[None],))
        return torch.nn.functional.cross_entropy(scores, answer[None])

    first, second = ({name: torch.zeros_like(value) for name, value in parameters.items()} for _ in range(2))
    for feed in calibration.batches(32):
        images = torch.from_numpy(next(iter(feed.values())))
        found = vmap(grad(loss), (None, 0, 0))(parameters, images, network(images).argmax(1))
        for name, each in found.items():
            first[name] += each.sum(0) / len(calibration)
            second[name] += each.square().sum(0) / len(calibration)
    return list(first.values()), list(second.values())


def graph_size(graph: ir.Model) -> dict[str, float]:
    """MACs and weights, as foldpress counts them for a budget."""
    layers = graph_cost(graph).layers
    return {kind: float(sum(getattr(layer, kind) for layer in layers)) for kind in KINDS}


@torch.no_grad()
def network_size(network: torch.nn.Module, example: torch.Tensor) -> dict[str, float]:
    """The same of a network of convolutions and dense layers."""
    sizes = dict.fromkeys(KINDS, 0.0)

    def count(layer: Any, _: Any, output: torch.Tensor) -> None:
        sizes["macs"] += output[0].numel() * layer.weight[0].numel()
        sizes["parameters"] += layer.weight.numel()

    hooks = [module.register_forward_hook(count) for module in network.modules() if isinstance(module, MATRICES)]
    network(example)
    for hook in hooks:
        hook.remove()
    return sizes


def graph_scores(graph: ir.Model, data: Dataset) -> Any:
    """Scores of each sample, [N, classes]."""
    return predict(open_session(serialize(graph)), data, 50)[0]


@torch.no_grad()
def network_scores(network: torch.nn.Module, data: Dataset) -> Any:
    """Scores of each sample, [N, classes]."""
    batches = [torch.from_numpy(next(iter(feed.values()))) for feed in data.batches(50)]
    return np.concatenate([network(batch).numpy() for batch in batches])
