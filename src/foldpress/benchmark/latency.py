"""Latency that can be compared: interleaved blocks, in several fresh processes, on real samples.

Two identical models timed one after the other differ by 7 %; in interleaved blocks by 1 %. One process's own interval
is narrower than the difference between processes, so several are run. The first graph, the reference, takes part twice:
what its second session shows is no effect, and measures the machine (see `ratios.py`).
"""

import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foldpress.benchmark.evidence import LatencySamples
from foldpress.benchmark.on_device import DEVICES
from foldpress.benchmark.plan import LatencyPlan
from foldpress.benchmark.processes import work
from foldpress.benchmark.ratios import ratio_of
from foldpress.data import Dataset
from foldpress.errors import RequestError
from foldpress.graph import input_specs, load_graph
from foldpress.progress import track
from foldpress.providers import check_provider

_WORKER = "foldpress.benchmark.worker"
_FEEDS = 8  # different batches that the runs cycle through
_AGAIN = ""  # the reference's second session; no graph has this name
_FEWEST_TO_STOP = (
    8  # of fewer processes chance makes some intervals narrow; stopping at those, they would miss too often
)
_MOST_PROCESSES = 100  # beyond, the interval narrows no more


def measure(graphs: Mapping[str, Path], dataset: Dataset, plan: LatencyPlan) -> list[LatencySamples]:
    """Time several graphs against each other, and the first against itself; one entry for each graph, in order.

    Raises:
        ProviderError: the provider is absent, or cannot run a graph.
        RequestError: fewer samples than the batch size, or a graph that is fixed to another one.
        FoldpressError: a worker process died or took too long.
    """
    check_request(graphs, dataset, plan)
    paths = {name: str(Path(path).resolve()) for name, path in graphs.items()}
    reference = next(iter(paths))
    with tempfile.TemporaryDirectory(prefix="foldpress.") as name:
        folder = Path(name)
        common = {"feeds": str(save_feeds(dataset, plan.batch, folder)), "batch": plan.batch, "provider": plan.provider,
                  "provider_options": dict(plan.provider_options), "threads": plan.threads}  # fmt: skip
        alone = {
            name: work(_WORKER, {**common, "graphs": {name: path}, "seconds": 0.0, "seed": plan.seed}, folder)[name]
            for name, path in track(paths.items(), "loading each graph in a process of its own", len(paths))
        }
        label = f"timing at batch {plan.batch}, {plan.threads} threads, on {plan.provider}"
        together: list[dict[str, Any]] = []
        for turn in track(_turns(together, reference, plan), label, plan.processes):
            request = {**common, "graphs": {**paths, _AGAIN: paths[reference]}, "device": DEVICES.get(plan.provider),
                       "seconds": plan.seconds / plan.processes, "seed": plan.seed + turn}  # fmt: skip
            together.append(work(_WORKER, request, folder))
    return [_collected(name, plan, alone[name], together, is_reference=name == reference) for name in paths]


def block_medians(graphs: Mapping[str, Path], dataset: Dataset, plan: LatencyPlan) -> dict[str, list[NDArray[Any]]]:
    """Milliseconds of each graph, [rounds] for each process: the same place of two graphs was timed at about the same time.

    Nothing but the time is measured, so that many small graphs can be compared in one process.

    Raises:
        FoldpressError: as for `measure`.
    """
    check_request(graphs, dataset, plan)
    paths = {name: str(Path(path).resolve()) for name, path in graphs.items()}
    with tempfile.TemporaryDirectory(prefix="foldpress.") as name:
        folder = Path(name)
        common = {"feeds": str(save_feeds(dataset, plan.batch, folder)), "batch": plan.batch, "provider": plan.provider,
                  "provider_options": dict(plan.provider_options), "threads": plan.threads, "graphs": paths,
                  "seconds": plan.seconds / plan.processes}  # fmt: skip
        turns = track(range(plan.processes), f"timing {len(paths)} graphs at batch {plan.batch}", plan.processes)
        answers = [work(_WORKER, {**common, "seed": plan.seed + turn}, folder) for turn in turns]
    return {name: [np.median(answer[name]["blocks_ms"], axis=1) for answer in answers] for name in paths}


def check_request(graphs: Mapping[str, Path], dataset: Dataset, plan: LatencyPlan) -> None:
    """Refuse what cannot be timed before anything is.

    Raises:
        ProviderError: the provider is absent.
        RequestError: fewer samples than the batch size, or a graph that is fixed to another one.
    """
    check_provider(plan.provider, plan.provider_options)
    if len(dataset) < plan.batch:
        raise RequestError(f"batch {plan.batch} needs as many samples; there are {len(dataset)}")
    for name, path in graphs.items():
        fixed = {spec.shape[0] for spec in input_specs(load_graph(path))} - {None, plan.batch}
        if fixed:
            raise RequestError(
                f"{name} takes exactly {fixed} samples at once, not {plan.batch}", mend="another batch size"
            )


def save_feeds(dataset: Dataset, batch: int, folder: Path) -> Path:
    """A file with the samples of a few whole batches, for workers to run on."""
    wanted = min(_FEEDS, len(dataset) // batch) * batch
    np.savez(folder / "feeds.npz", **dataset.batch(slice(0, wanted)))  # type: ignore[arg-type]  # names are free
    return folder / "feeds.npz"


def synthetic_feed(specs: list[Any], batch: int) -> Dataset:
    """Random samples by shape, for timing graphs without data; they say nothing about accuracy.

    Raises:
        RequestError: a shape is not known.
    """
    generator = np.random.default_rng(0)
    inputs: dict[str, Any] = {}
    for spec in specs:
        if None in spec.shape[1:]:
            raise RequestError(
                f"the shape of input {spec} is not fixed, so none can be made up", mend="give real samples: --data D"
            )
        values = generator.standard_normal((batch * _FEEDS, *spec.shape[1:]))
        inputs[spec.name] = np.abs(values).astype(spec.dtype) if spec.dtype.kind in "iub" else values.astype(spec.dtype)
    return Dataset(inputs)


def _turns(together: list[dict[str, Any]], reference: str, plan: LatencyPlan) -> Iterator[int]:
    """The number of each process to start: as many as planned, and more while an interval is wide and time is left."""
    end = time.perf_counter() + plan.seconds
    yield from range(plan.processes)
    if plan.half_width is None:
        return
    for turn in range(plan.processes, _MOST_PROCESSES):
        narrow = turn >= _FEWEST_TO_STOP and _widest(together, reference) <= plan.half_width
        if narrow or time.perf_counter() > end:
            return
        yield turn


def _widest(together: list[dict[str, Any]], reference: str) -> float:
    """The half-width of the widest interval of any graph against the reference, itself included."""
    blocks = {name: [answer[name]["blocks_ms"] for answer in together] for name in together[0]}
    return max(ratio_of(blocks[reference], one).half_width() for name, one in blocks.items() if name != reference)


def _collected(
    name: str, plan: LatencyPlan, probe: dict[str, Any], together: list[dict[str, Any]], *, is_reference: bool
) -> LatencySamples:
    return LatencySamples(
        provider=plan.provider,
        batch=plan.batch,
        threads=plan.threads,
        graph=name,
        samples_ms=[answer[name]["blocks_ms"] for answer in together],
        placement=probe["placement"],
        load_ms=probe["load_ms"],
        first_ms=probe["first_ms"],
        peak_rss_mb=probe["peak_rss_mb"],
        again_ms=[answer[_AGAIN]["blocks_ms"] for answer in together] if is_reference else [],
        warm_up_runs=[answer[name]["warm_up_runs"] for answer in together],
        provider_options=dict(plan.provider_options),
        device=DEVICES.get(plan.provider),
        device_ms=[answer[name]["device_ms"] for answer in together if "device_ms" in answer[name]],
        device_why=next((answer[name]["device_why"] for answer in together if "device_why" in answer[name]), None),
    )
