"""The command line: which commands there are. Heavy imports wait until a command needs them."""

from collections.abc import Callable
from typing import Annotated

import typer

import foldpress
from foldpress.commands.archive import pack, unpack
from foldpress.commands.job import init, report, run
from foldpress.commands.judge import gate, validate
from foldpress.commands.look import doctor, inspect
from foldpress.commands.stages import export, factorize, prune, quantize, share
from foldpress.commands.time import bench
from foldpress.commands.train import distill

_COMMANDS: tuple[Callable[..., None], ...] = (  # in the order of `--help`
    run, init, export, distill, prune, factorize, share, quantize, validate, bench, gate, report, inspect, pack, unpack, doctor,
)  # fmt: skip

app = typer.Typer(
    help=foldpress.__doc__,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _command in _COMMANDS:
    app.command()(_command)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(foldpress.__version__)
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass
