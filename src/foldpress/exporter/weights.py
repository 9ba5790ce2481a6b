"""Stored weights into a module: safetensors, or .pt/.pth read without unpickling."""

import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from foldpress.errors import ModelError
from foldpress.files import replacing

_WRAPPERS = ("module.", "_orig_mod.", "model.")  # DataParallel, torch.compile, Lightning
_STORED = {".safetensors", ".pt", ".pth", ".th", ".bin", ".ckpt"}
_SHOWN = 4


def load_weights(model: torch.nn.Module, path: Path) -> None:
    """Load weights into `model`; a state dict nested under a key, or with a wrapper's prefix, is found.

    Raises:
        ModelError: no such file, not weights, or keys and shapes that do not fit; names the first of each.
    """
    fit_weights(model, _state_dict(_read(path), path), str(path))


def fit_weights(model: torch.nn.Module, state: Mapping[str, torch.Tensor], where: str) -> None:
    """Put tensors by name into `model`; `where` they come from stands in the message.

    Raises:
        ModelError: keys and shapes that do not fit; names the first of each.
    """
    stored = _unwrapped(dict(state), set(model.state_dict()))
    own = model.state_dict()
    # Counts the batches seen in training; files older than PyTorch 0.4.1 do not hold it, and inference ignores it.
    missing = sorted(key for key in own.keys() - stored.keys() if not key.endswith("num_batches_tracked"))
    unexpected = sorted(stored.keys() - own.keys())
    other_shape = [
        f"{key} {list(stored[key].shape)} (model: {list(own[key].shape)})"
        for key in sorted(own.keys() & stored.keys())
        if stored[key].shape != own[key].shape
    ]
    if missing or unexpected or other_shape:
        raise ModelError(
            f"the weights in {where} do not fit the model: missing {_few(missing)}; unexpected {_few(unexpected)}; "
            f"of another shape {_few(other_shape)}",
            mend="use the weights that this very network was trained to",
        )
    model.load_state_dict(stored, strict=False)


def save_weights(model: torch.nn.Module, path: Path) -> None:
    """Write a module's weights as safetensors, all or nothing.

    Raises:
        OutputError: the folder cannot be written to.
    """
    with replacing(path) as draft:
        save_file(
            {name: one.detach().cpu().clone() for name, one in model.state_dict().items()}, draft
        )  # tied ones too


def _read(path: Path) -> Any:
    if not path.is_file():
        near = ", ".join(sorted(file.name for file in path.parent.glob("*") if file.suffix in _STORED))
        raise ModelError(f"there are no weights {path}", available=near or "none", mend="train first, or mend the path")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with warnings.catch_warnings():  # of file formats; one that cannot be read is an error below
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise ModelError(
            f"{path} cannot be read as weights: {str(error).splitlines()[0]}",
            available=".safetensors, or .pt/.pth holding tensors only (nothing else is unpickled)",
        ) from error


def _state_dict(stored: Any, path: Path) -> dict[str, torch.Tensor]:
    """The mapping of names to tensors in what was read, however deep a training script put it."""
    if isinstance(stored, Mapping):
        tensors = {str(key): value for key, value in stored.items() if isinstance(value, torch.Tensor)}
        if len(tensors) == len(stored) and tensors:
            return tensors
        nested = [value for value in stored.values() if isinstance(value, Mapping)]
        found = [_state_dict(value, path) for value in nested if _holds_tensors(value)]
        if found:
            return max(found, key=len)
    raise ModelError(
        f"{path} holds no state dict", available=f"a {type(stored).__name__}", mend="save model.state_dict()"
    )


def _holds_tensors(stored: Mapping[Any, Any]) -> bool:
    return any(isinstance(v, torch.Tensor) or (isinstance(v, Mapping) and _holds_tensors(v)) for v in stored.values())


def _unwrapped(stored: dict[str, torch.Tensor], own: set[str]) -> dict[str, torch.Tensor]:
    """The keys without the prefixes of wrappers, of which there may be several around each other."""
    for prefix in _WRAPPERS:
        if all(key.startswith(prefix) for key in stored) and not any(key.startswith(prefix) for key in own):
            return _unwrapped({key.removeprefix(prefix): tensor for key, tensor in stored.items()}, own)
    return stored


def _few(keys: list[str]) -> str:
    if not keys:
        return "none"
    more = f" and {len(keys) - _SHOWN} more" if len(keys) > _SHOWN else ""
    return ", ".join(keys[:_SHOWN]) + more
