"""The Pass protocol: a pass takes a graph and gives a graph, with a log of what it did and what it declined.

A pass is a callable with a name; what it learned from data (statistics) it holds as fields. Passes are pure: `apply`
hands each one a copy, so the caller's graph never changes. A sequence of passes is applied in order.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, Protocol

import onnx
import onnx_ir as ir
from onnx_ir.passes.common import CheckerPass

from foldpress.errors import PassError
from foldpress.graph import copy_graph

Action = Literal["done", "declined"]


@dataclass(frozen=True)
class LogEntry:
    """One thing that a pass did, or did not do and why."""

    pass_name: str
    subject: str
    action: Action
    detail: str

    def as_json(self) -> dict[str, str]:
        """The entry as it stands in reports."""
        return {"pass": self.pass_name, "subject": self.subject, "action": self.action, "detail": self.detail}


@dataclass(frozen=True, eq=False)
class PassResult:
    """A graph, and what happened to it."""

    model: ir.Model
    log: tuple[LogEntry, ...] = ()


class Pass(Protocol):
    """A change of a graph. It may change the graph it is given, which is a copy."""

    @property
    def name(self) -> str:
        """What it is called in logs and reports."""

    def __call__(self, model: ir.Model) -> PassResult:
        """Apply it.

        Raises:
            PassError: the graph would break.
        """


def apply(passes: Iterable[Pass], model: ir.Model) -> PassResult:
    """Apply passes in order to a copy of `model`; after each, the graph is valid and has the same inputs and outputs.

    Raises:
        PassError: a pass broke the graph; names the pass.
    """
    log: list[LogEntry] = []
    for one in passes:
        before = _interface(model)
        result = one(copy_graph(model))
        _check(one.name, before, result.model)
        model = result.model
        log.extend(result.log)
    return PassResult(model, tuple(log))


def _interface(model: ir.Model) -> list[str]:
    ends = [*model.graph.inputs, *model.graph.outputs]
    return [f"{value.name} {value.dtype} rank {len(value.shape) if value.shape is not None else '?'}" for value in ends]


def _check(name: str, before: list[str], model: ir.Model) -> None:
    if (after := _interface(model)) != before:
        raise PassError(f"pass {name} changed the graph's inputs or outputs from {before} to {after}")
    try:
        CheckerPass()(copy_graph(model))  # it leaves weights out, but puts them back in another order
    except onnx.checker.ValidationError as error:
        raise PassError(f"pass {name} broke the graph: {str(error).strip().splitlines()[0]}") from error
