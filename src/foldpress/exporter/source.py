"""Where a model comes from: `module:callable` giving a torch.nn.Module, with optional weights."""

import inspect
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch

from foldpress.callables import load_callable
from foldpress.data import Array, Dataset
from foldpress.errors import DataError, ModelError
from foldpress.exporter.weights import load_weights


def build_model(source: str, weights: str | None, folder: Path) -> torch.nn.Module:
    """The user's model with its weights, ready for inference on the CPU.

    Raises:
        RequestError: no such module or callable.
        ModelError: the user's code raised, gave no module, or the weights do not fit.
    """
    model = load_callable(source, folder)()
    if not isinstance(model, torch.nn.Module):
        raise ModelError(
            f"{source} gave a {type(model).__name__}, not a torch.nn.Module", mend="return the network itself"
        )
    model = model.cpu().eval()
    if weights is not None:
        load_weights(model, folder / Path(weights).expanduser())
    return model


def fit_names(model: torch.nn.Module, dataset: Dataset) -> Dataset:
    """The data under the names of `forward`'s parameters, in their order.

    With one parameter to fill and one array, the array's name does not matter.

    Raises:
        DataError: a parameter without an array, or an array without a parameter.
    """
    parameters = inspect.signature(model.forward).parameters.values()
    if any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters):
        return dataset
    named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    required = [p.name for p in named if p.default is p.empty]
    if len(dataset.inputs) == 1 and len(required) <= 1 and named:
        dataset = dataset.renamed({next(iter(dataset.inputs)): (required or [named[0].name])[0]})
    known = [p.name for p in named]
    missing, extra = sorted(set(required) - set(dataset.inputs)), sorted(set(dataset.inputs) - set(known))
    if missing or extra:
        raise DataError(
            f"the arrays do not match forward({', '.join(known)}): missing {missing or 'none'}, unknown {extra or 'none'}",
            mend="name each array after a parameter; `y` holds targets, `group` groups",
        )
    return Dataset({name: dataset.inputs[name] for name in known if name in dataset.inputs},
                   dataset.targets, dataset.groups, dataset.rows)  # fmt: skip


def as_tensors(feed: dict[str, Array]) -> dict[str, torch.Tensor]:
    """A batch as tensors."""
    return {name: torch.from_numpy(array) for name, array in feed.items()}


def flatten(outputs: Any) -> Iterator[torch.Tensor]:
    """The tensors in a nest of tuples, lists and mappings, in order: a network's outputs.

    Raises:
        ModelError: there is something else among them.
    """
    if isinstance(outputs, torch.Tensor):
        yield outputs
    elif isinstance(outputs, str) or not isinstance(outputs, Iterable | None):
        raise ModelError(f"a network gave {type(outputs).__name__}", available="a tensor, or several")
    elif outputs is not None:
        for part in outputs.values() if isinstance(outputs, dict) else outputs:
            yield from flatten(part)


def check_float_type(model: torch.nn.Module, dataset: Dataset) -> None:
    """Refuse floating inputs of another type than the model's weights.

    Raises:
        DataError: names the array and the type that the model computes in.
    """
    wanted = next((p.dtype for p in model.parameters() if p.dtype.is_floating_point), torch.float32)
    name_of = str(wanted).removeprefix("torch.")
    for name, array in dataset.inputs.items():
        if array.dtype.kind == "f" and str(array.dtype) != name_of:
            raise DataError(
                f"array {name} is {array.dtype}, the model computes in {name_of}", mend=f".astype({name_of!r})"
            )
