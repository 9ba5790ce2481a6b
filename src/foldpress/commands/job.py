"""The whole job: a recipe to start from, its run, and the reports of a finished one."""

from pathlib import Path
from typing import Annotated

import typer

import foldpress
from foldpress.commands.options import Json, Quiet, Verbose
from foldpress.commands.verdict import summarize
from foldpress.console import command
from foldpress.render import show_run


def run(
    recipe: Annotated[Path, typer.Argument(help="A recipe.toml, or the folder that holds it.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to fill.")] = Path("foldpress-run"),
    override: Annotated[list[str], typer.Option("--set", help="KEY=VALUE, for example gate.max_drop=0.02.")] = [],  # noqa: B006
    resume: Annotated[bool, typer.Option("--resume", help="Take over what an earlier run has finished there.")] = False,
    json: Json = False, quiet: Quiet = False, verbose: Verbose = False,
) -> None:  # fmt: skip
    """The whole job: export, prune, quantize, benchmark, k-fold check, gate, report. The exit code is the verdict."""
    with command(as_json=json, quiet=quiet, verbose=verbose) as out:
        report = foldpress.run(foldpress.load_recipe(recipe, override), output, resume=resume)
        summarize(report.document)
        out.show(report.document, *show_run(report.document), f"reports: {output / 'report.html'}")
    raise typer.Exit(report.exit_code)


def init(
    folder: Annotated[Path, typer.Argument(help="A new folder.")],
    template: Annotated[str, typer.Option("--from", help="digits, tabular, regression or sequence.")] = "digits",
    json: Json = False, quiet: Quiet = False, verbose: Verbose = False,
) -> None:  # fmt: skip
    """A recipe, a model file and a data file to start from."""
    with command(as_json=json, quiet=quiet, verbose=verbose) as out:
        files = foldpress.init(folder, template)
        out.show(
            {"files": [str(file) for file in files]},
            "\n".join(str(file) for file in files),
            f"next: python {folder / 'train.py'} && foldpress run {folder / 'recipe.toml'}",
        )


def report(
    folder: Annotated[Path, typer.Argument(help="The folder of a finished run.")],
    json: Json = False, quiet: Quiet = False, verbose: Verbose = False,
) -> None:  # fmt: skip
    """Draw the reports again from saved evidence."""
    with command(as_json=json, quiet=quiet, verbose=verbose) as out:
        document = foldpress.report(folder)
        out.show(document, *show_run(document), f"drawn again: {folder / 'report.html'}")
