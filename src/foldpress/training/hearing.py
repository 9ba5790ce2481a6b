"""What a network gives for a batch: the output that is learned, and what modules inside of it gave."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, TypeVar

import torch

from foldpress.callables import user_code
from foldpress.data import Array
from foldpress.errors import ModelError
from foldpress.exporter.source import flatten
from foldpress.training.samples import Tensors

_NAMED = 40  # modules that a message lists at most
_Output = TypeVar("_Output", torch.Tensor, Array)


def hear(
    module: torch.nn.Module, inputs: Tensors, names: Sequence[str] = (), output: int = 0
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """The output at this position, [n, …], and the first outputs of the modules of these names.

    Raises:
        ModelError: forward raised, or there is no such output, or no module of a name.
    """
    with _listening(module, names) as heard, user_code("the model's forward"):
        outputs = module(**inputs)
    return output_at(output, [*flatten(outputs)]), [heard[name] for name in names]


def output_at(position: int, outputs: Sequence[_Output]) -> _Output:
    """The output at a position; the only one, wherever it is asked for.

    Raises:
        ModelError: there are not as many.
    """
    if len(outputs) == 1:
        return outputs[0]
    if position >= len(outputs):
        raise ModelError(
            f"a network has no output {position}", available=f"0 … {len(outputs) - 1}" if outputs else "none"
        )
    return outputs[position]


@contextmanager
def _listening(module: torch.nn.Module, names: Sequence[str]) -> Iterator[dict[str, torch.Tensor]]:
    """Yields what the modules of these names gave last."""
    modules = dict(module.named_modules())
    if missing := [name for name in names if name not in modules]:
        known = ", ".join(sorted(filter(None, modules))[:_NAMED])
        raise ModelError(f"there is no module {', '.join(missing)}", available=known or "none")
    heard: dict[str, torch.Tensor] = {}

    def listen(name: str) -> Any:
        def keep(_module: torch.nn.Module, _inputs: object, output: object) -> None:
            heard[name] = output_at(0, [*islice(flatten(output), 1)])  # what else it gives may be anything

        return modules[name].register_forward_hook(keep)

    handles = [listen(name) for name in names]
    try:
        yield heard
    finally:
        for handle in handles:
            handle.remove()
