"""`bench` and what goes with it: any graphs timed against each other, or taken apart node by node."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from foldpress.benchmark.explain import explain as explain_graphs
from foldpress.benchmark.latency import measure, synthetic_feed
from foldpress.benchmark.latency_rows import latency_rows
from foldpress.benchmark.loadgen import run_scenario
from foldpress.benchmark.plan import Scenario, latency_plans
from foldpress.data import Dataset, fit_inputs
from foldpress.errors import RequestError
from foldpress.graph import input_specs, load_graph
from foldpress.providers import CPU
from foldpress.sources import read_data


def bench(
    graphs: Sequence[Path | str],
    *,
    data: str | None = None,
    providers: Sequence[str] = (CPU,),
    batches: Sequence[int] = (1,),
    threads: int | Sequence[int] = 1,
    processes: int = 8,
    seconds: float = 10.0,
    half_width: float | None = None,
    provider_options: Mapping[str, Mapping[str, str]] | None = None,
    confidence: float = 0.95,
) -> list[dict[str, Any]]:
    """Interleaved latency of several graphs, the first being the reference: the `latency` list of report.json.

    Args:
        graphs: .onnx files with the same inputs.
        data: real samples; made up by shape without.
        providers: onnxruntime's execution providers.
        batches: batch sizes.
        threads: threads within an operator.
        processes: fresh processes to repeat in.
        seconds: to spend on each cell of the grid of providers, batches and threads.
        half_width: add processes until every ratio's interval is as narrow, or the seconds are up; a share of the ratio.
        provider_options: by provider.
        confidence: of the intervals.

    Raises:
        RequestError: a graph, the data or a provider are wrong.
    """
    paths, dataset = _request(graphs, data, batches)
    counts = (threads,) if isinstance(threads, int) else threads
    plans = latency_plans(providers, batches, counts, provider_options or {}, processes=processes, seconds=seconds,
                          half_width=half_width)  # fmt: skip
    measured = [one for plan in plans for one in measure(paths, dataset, plan)]
    return latency_rows(measured, next(iter(paths)), confidence)


def explain(
    graphs: Sequence[Path | str],
    *,
    data: str | None = None,
    providers: Sequence[str] = (CPU,),
    batches: Sequence[int] = (1,),
    threads: int | Sequence[int] = 1,
    provider_options: Mapping[str, Mapping[str, str]] | None = None,
) -> list[dict[str, Any]]:
    """Where the time of each graph goes, node by node and side by side; one entry for each cell of the grid.

    Arguments and errors are those of `bench`.
    """
    paths, dataset = _request(graphs, data, batches)
    counts = (threads,) if isinstance(threads, int) else threads
    plans = latency_plans(providers, batches, counts, provider_options or {})
    return [explain_graphs(paths, dataset, plan) for plan in plans]


def scenario(
    name: Scenario,
    graphs: Sequence[Path | str],
    *,
    data: str | None = None,
    providers: Sequence[str] = (CPU,),
    batches: Sequence[int] = (1,),
    threads: int | Sequence[int] = 1,
    seconds: float = 10.0,
    provider_options: Mapping[str, Mapping[str, str]] | None = None,
    target_qps: float | None = None,
    max_latency_ms: float | None = None,
) -> list[dict[str, Any]]:
    """One of MLPerf's scenarios for each graph and each cell of the grid, by LoadGen (`pip install 'foldpress[mlperf]'`).

    Args:
        name: SingleStream, MultiStream, Server or Offline.
        graphs: .onnx files with the same inputs.
        data: as for `bench`, and so are providers, threads and provider_options.
        providers: onnxruntime's execution providers.
        batches: samples that MultiStream, whose queries have eight, and Offline run at once.
        threads: threads within an operator.
        seconds: LoadGen's least.
        provider_options: by provider.
        target_qps: Server alone: samples that arrive in a second.
        max_latency_ms: Server alone: what p99 must stay within.

    Raises:
        MissingExtraError: mlcommons-loadgen is not installed.
        RequestError: the request does not fit the scenario, or a graph, the data or a provider are wrong.
    """
    paths, dataset = _request(graphs, data, batches)
    counts = (threads,) if isinstance(threads, int) else threads
    plans = latency_plans(providers, batches, counts, provider_options or {}, seconds=seconds)
    return [row for plan in plans for row in run_scenario(name, paths, dataset, plan, target_qps=target_qps,
                                                          max_latency_ms=max_latency_ms)]  # fmt: skip


def _request(graphs: Sequence[Path | str], data: str | None, batches: Sequence[int]) -> tuple[dict[str, Path], Dataset]:
    """Graphs by name, and samples that fit them all."""
    if not graphs:
        raise RequestError("no graph to time", mend="foldpress bench A.onnx [B.onnx …]")
    paths = _distinct([Path(graph) for graph in graphs])
    specs = [input_specs(load_graph(path)) for path in paths.values()]
    if any([str(spec) for spec in one] != [str(spec) for spec in specs[0]] for one in specs):
        raise RequestError("the graphs differ in their inputs", available="; ".join(map(str, specs[0])))
    if data is None:
        return paths, synthetic_feed(specs[0], max(batches))
    return paths, fit_inputs(read_data(data, Path()), specs[0])


def _distinct(paths: list[Path]) -> dict[str, Path]:
    """Graphs by the shortest names that tell them apart."""
    names = [path.name for path in paths]
    if len(set(names)) < len(names):
        names = [str(path) for path in paths]
    if len(set(names)) < len(names):
        names = [f"{name} ({i})" for i, name in enumerate(names, 1)]
    return dict(zip(names, paths, strict=True))
