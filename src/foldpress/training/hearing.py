"""What a network gives for a batch: its first output, and what modules inside of it gave."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from foldpress.callables import user_code
from foldpress.errors import ModelError
from foldpress.training.samples import Tensors

_NAMED = 40  # modules that a message lists at most


def hear(
    module: torch.nn.Module, inputs: Tensors, names: Sequence[str] = ()
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """The output that is scored, [n, …], and the outputs of the modules of these names.

    Raises:
        ModelError: forward raised, or there is no module of a name.
    """
    with _listening(module, names) as heard, user_code("the model's forward"):
        outputs = first_output(module(**inputs))
    return outputs, [heard[name] for name in names]


def first_output(outputs: Any) -> torch.Tensor:
    """The first tensor in a nest of tuples, lists and mappings: what is scored.

    Raises:
        ModelError: there is none.
    """
    while not isinstance(outputs, torch.Tensor):
        if not isinstance(outputs, tuple | list | dict) or not outputs:
            raise ModelError(f"a network gave {type(outputs).__name__}", available="a tensor, or several")
        outputs = next(iter(outputs.values())) if isinstance(outputs, dict) else outputs[0]
    return outputs


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
            heard[name] = first_output(output)

        return modules[name].register_forward_hook(keep)

    handles = [listen(name) for name in names]
    try:
        yield heard
    finally:
        for handle in handles:
            handle.remove()
