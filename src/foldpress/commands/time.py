"""Where the time goes: latency of graphs, by turns, by MLPerf's rules, or node by node."""

from pathlib import Path
from typing import Annotated

import typer

import foldpress
from foldpress.benchmark.plan import read_provider_options
from foldpress.commands.options import Json, Quiet, Verbose
from foldpress.console import command
from foldpress.render_latency import show_explanation, show_latency, show_scenario


def bench(
    graphs: Annotated[list[Path], typer.Argument(help="Graphs; the first is the reference.")],
    data: Annotated[str | None, typer.Option("--data", "-d", help="Real samples; made up by shape without.")] = None,
    provider: Annotated[list[str], typer.Option("--provider", "-p")] = ["CPUExecutionProvider"],  # noqa: B006
    batch: Annotated[list[int], typer.Option("--batch", "-b", min=1)] = [1],  # noqa: B006
    threads: Annotated[list[int], typer.Option(min=1, help="Within an operator; may be repeated.")] = [1],  # noqa: B006
    processes: Annotated[int, typer.Option(min=1, help="Fresh processes to repeat in.")] = 8,
    seconds: Annotated[float, typer.Option(min=0.1, max=3600, help="Time for each provider, batch and threads.")] = 10.0,
    half_width: Annotated[float | None, typer.Option(min=0.0001, max=1, help="Add processes until every ratio's interval "
                                                     "is within this share, or the time is up.")] = None,
    provider_option: Annotated[list[str] | None, typer.Option(help="KEY=VALUE, or PROVIDER:KEY=VALUE.")] = None,
    scenario: Annotated[str | None, typer.Option(help="MLPerf's SingleStream, MultiStream, Server or Offline instead, by "
                                                 "LoadGen.")] = None,
    target_qps: Annotated[float | None, typer.Option(min=0.001, help="Server: samples a second that arrive.")] = None,
    max_latency_ms: Annotated[float | None, typer.Option(min=0.001, help="Server: what p99 must stay within.")] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Instead, node by node, where the time goes.")] = False,
    json: Json = False, quiet: Quiet = False, verbose: Verbose = False,
) -> None:  # fmt: skip
    """Interleaved latency, with ratios and their intervals."""
    with command(as_json=json, quiet=quiet, verbose=verbose) as out:
        options = read_provider_options(provider_option or (), provider)
        if scenario is not None:
            from foldpress import timing

            rows = timing.scenario(
                scenario, graphs, data=data, providers=provider, batches=batch, threads=threads, seconds=seconds,  # type: ignore[arg-type]
                provider_options=options, target_qps=target_qps, max_latency_ms=max_latency_ms,
            )  # fmt: skip
            out.show(rows, show_scenario(rows))
            return
        if explain:
            found = foldpress.explain(
                graphs, data=data, providers=provider, batches=batch, threads=threads, provider_options=options
            )
            out.show({"explain": found}, *show_explanation(found))
            return
        rows = foldpress.bench(
            graphs, data=data, providers=provider, batches=batch, threads=threads, processes=processes, seconds=seconds,
            half_width=half_width, provider_options=options,
        )  # fmt: skip
        out.show(rows, *show_latency(rows))
