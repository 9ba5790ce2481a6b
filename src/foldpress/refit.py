"""Does the recipe hold for the training procedure, and not only for this one network?

In each fold the user's own code trains the network anew on what the fold may learn from; it is exported, pressed by the
recipe with the same samples, and both are scored on the fold. Nothing of the fold has any part in either.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx_ir as ir

from foldpress.benchmark.scoring import Task
from foldpress.callables import load_callable
from foldpress.data import Array, Dataset, fit_inputs
from foldpress.errors import ModelError
from foldpress.folds import Folds
from foldpress.graph import input_specs
from foldpress.pressing import Pressing
from foldpress.recipe import Recipe
from foldpress.taught import Training


@dataclass(frozen=True, eq=False)
class Refitted:
    """A round's network, trained without its fold, before and after the recipe."""

    repeat: int
    fold: int
    baseline: ir.Model
    artifact: ir.Model
    trained_on: int


def open_refit(recipe: Recipe) -> Callable[..., Any]:
    """What `[folds] refit` names.

    Raises:
        RequestError: there is no such callable beside the recipe.
    """
    return load_callable(str(recipe.folds.refit), recipe.folder)


def refit(
    recipe: Recipe, folds: Folds, task: Task, chosen: dict[str, Any], training: Training | None = None
) -> Iterator[Refitted]:
    """Train, export and press in every round.

    Args:
        recipe: `[folds] refit` names the training.
        folds: whose rounds they are.
        task: how samples are scored.
        chosen: what `Pressing.choose` found for the network that ships. A largest drop is met by each network anew.
        training: what the recipe trains beside, which each round does anew with its own samples.

    Raises:
        ModelError: the training raised, or gave neither a network nor its weights.
        ParityError: an exported network does not compute what PyTorch computes.
    """
    from foldpress.exporter.export import export_model

    fit = open_refit(recipe)
    for index, (repeat, fold) in enumerate(folds.rounds()):
        part = folds.training(repeat, fold)
        network = _trained(recipe, fit, part.development, recipe.folds.seed + index)
        graph = export_model(network, part.development).graph
        part = replace(
            part, development=fit_inputs(part.development, input_specs(graph))
        )  # it may name its input otherwise
        start = graph if training is None else training.of(network, part).graph()
        pressing = Pressing(recipe.pressed, start, part, task)
        by_drop = recipe.pressed.prune is not None and recipe.pressed.prune.max_drop is not None
        pressing.settle(pressing.choose() | {"precision": chosen["precision"]} if by_drop else chosen)
        yield Refitted(repeat, fold, graph, pressing.shipped(), len(part.development))


def _trained(recipe: Recipe, fit: Callable[..., Any], samples: Dataset, seed: int) -> Any:
    """The trained network, ready for inference. PyTorch's own generator is left as it was."""
    import torch

    from foldpress.exporter.source import build_model
    from foldpress.exporter.weights import fit_weights

    with torch.random.fork_rng():
        found = fit(_inputs(samples), samples.y, seed)
    if isinstance(found, torch.nn.Module):
        return found.cpu().eval()
    if not isinstance(found, Mapping):
        raise ModelError(
            f"{recipe.folds.refit} gave a {type(found).__name__}",
            available="a torch.nn.Module, or its state_dict",
            mend="return the trained network",
        )
    model = build_model(recipe.model.source, None, recipe.folder)
    fit_weights(model, found, str(recipe.folds.refit))
    return model


def _inputs(samples: Dataset) -> Array | dict[str, Array]:
    """Copies of these samples alone: the data set itself would lead to the fold that is held out."""
    arrays = samples.batch(np.arange(len(samples)))
    return next(iter(arrays.values())) if len(arrays) == 1 else arrays
