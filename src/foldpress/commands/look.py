"""Looking at a graph and at this machine."""

from pathlib import Path
from typing import Annotated

import typer

import foldpress
from foldpress.commands.options import Json, Quiet, Verbose
from foldpress.console import command
from foldpress.render import show_graph, show_machine


def inspect(
    graph: Annotated[Path, typer.Argument(help="Any .onnx file.")],
    json: Json = False, quiet: Quiet = False, verbose: Verbose = False,
) -> None:  # fmt: skip
    """Operators, parameters, MACs, bytes, sparsity and precision, by layer and in all."""
    with command(as_json=json, quiet=quiet, verbose=verbose) as out:
        found = foldpress.inspect(graph)
        out.show(found, *show_graph(found))


def doctor(json: Json = False, quiet: Quiet = False, verbose: Verbose = False) -> None:
    """Providers, instruction sets, which int8 types are fast here, versions, what is missing and how to get it."""
    with command(as_json=json, quiet=quiet, verbose=verbose) as out:
        found = foldpress.doctor()
        out.show(found, *show_machine(found))
