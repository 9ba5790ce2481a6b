"""Archives of graphs."""

from pathlib import Path
from typing import Annotated

import typer

import foldpress
from foldpress.commands.options import Json, Quiet, Verbose
from foldpress.console import command
from foldpress.render import show_packed


def pack(
    graph: Annotated[Path, typer.Argument(help="Any .onnx file.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The .fpz file to write.")] = None,
    json: Json = False, quiet: Quiet = False, verbose: Verbose = False,
) -> None:  # fmt: skip
    """One small archive of a graph and its weights, entropy-coded; `unpack` gives the same bytes again."""
    with command(as_json=json, quiet=quiet, verbose=verbose) as out:
        result = foldpress.pack(graph, output)
        out.show(result.as_json(), *show_packed(result))


def unpack(
    archive: Annotated[Path, typer.Argument(help="An .fpz file.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The .onnx file to write.")] = None,
    json: Json = False, quiet: Quiet = False, verbose: Verbose = False,
) -> None:  # fmt: skip
    """The .onnx file that was packed, byte for byte."""
    with command(as_json=json, quiet=quiet, verbose=verbose) as out:
        written = foldpress.unpack(archive, output)
        out.show({"output": str(written), "bytes": written.stat().st_size}, f"{written}: the bytes that were packed")
