"""Batch normalization folded into the layers before it, in PyTorch: parameters then are what the cleaned graph stores."""

import torch
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.utils import fuse_conv_bn_eval, fuse_linear_bn_eval

from foldpress.data import Dataset
from foldpress.exporter.parity import torch_outputs


def fuse_batch_norm(model: torch.nn.Module, dataset: Dataset) -> None:
    """Fold in place what directly follows a convolution or a linear layer, each being called once.

    γ (W x + b − μ) / √(σ² + ε) + β  becomes  W' x + b'.

    Args:
        model: in inference mode.
        dataset: a sample of it shows what follows what.
    """
    for layer_name, norm_name in _pairs(model, dataset):
        layer, norm = model.get_submodule(layer_name), model.get_submodule(norm_name)
        _replace(model, layer_name, _fused(layer, norm))
        _replace(model, norm_name, torch.nn.Identity())


def _pairs(model: torch.nn.Module, dataset: Dataset) -> list[tuple[str, str]]:
    """Names of layers and of the normalizations that take what they give, seen in one run."""
    made: dict[int, str] = {}  # by the identity of a tensor
    calls: dict[str, int] = {}
    pairs: list[tuple[str, str]] = []
    kept: list[object] = []  # tensors that live have identities of their own

    def watch(name: str, module: torch.nn.Module) -> torch.utils.hooks.RemovableHandle:
        def see(_module: torch.nn.Module, inputs: tuple[object, ...], output: object) -> None:
            calls[name] = calls.get(name, 0) + 1
            kept.extend((inputs, output))
            if isinstance(module, _BatchNorm):
                pairs.extend((made[id(one)], name) for one in inputs if id(one) in made)
            else:
                made[id(output)] = name

        return module.register_forward_hook(see)

    kinds = (_ConvNd, torch.nn.Linear, _BatchNorm)
    handles = [watch(name, module) for name, module in model.named_modules() if isinstance(module, kinds)]
    try:
        torch_outputs(model, dataset.select(dataset.rows[:1] * 0))
    finally:
        for handle in handles:
            handle.remove()
    return [pair for pair in pairs if all(calls[name] == 1 for name in pair) and _can_fold(model, *pair)]


def _can_fold(model: torch.nn.Module, layer_name: str, norm_name: str) -> bool:
    layer, norm = model.get_submodule(layer_name), model.get_submodule(norm_name)
    assert isinstance(norm, _BatchNorm)  # noqa: S101  # by `_pairs`
    whole = norm.running_mean is not None and norm.affine
    return whole and type(layer).forward in {kind.forward for kind in _FOLDED}


_FOLDED = (torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Conv3d, torch.nn.ConvTranspose1d, torch.nn.ConvTranspose2d,
           torch.nn.ConvTranspose3d, torch.nn.Linear)  # fmt: skip


def _fused(layer: torch.nn.Module, norm: torch.nn.Module) -> torch.nn.Module:
    assert isinstance(norm, _BatchNorm)  # noqa: S101  # by `_pairs`
    if isinstance(layer, torch.nn.Linear):
        return fuse_linear_bn_eval(layer, norm)
    assert isinstance(layer, _ConvNd)  # noqa: S101  # by `_can_fold`
    return fuse_conv_bn_eval(layer, norm, transpose=isinstance(layer, _ConvTransposeNd))


def _replace(model: torch.nn.Module, name: str, by: torch.nn.Module) -> None:
    parent, _, last = name.rpartition(".")
    setattr(model.get_submodule(parent), last, by)
