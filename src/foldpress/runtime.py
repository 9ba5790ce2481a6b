"""Graphs at work: sessions of any graph, and what they predict."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime as ort

from foldpress.data import Array, Dataset
from foldpress.errors import GraphError
from foldpress.external import light_proto
from foldpress.progress import track
from foldpress.providers import CPU
from foldpress.sessions import ORT_ERRORS, make_options, start_session


def open_session(
    graph: ir.Model | bytes | Path,
    *,
    provider: str = CPU,
    provider_options: Mapping[str, str] | None = None,
    threads: int = 0,
    optimize: bool = True,
    write_optimized: Path | None = None,
    sparing: bool = False,
) -> Any:
    """An onnxruntime session on exactly this provider; nothing falls back in silence.

    Args:
        graph: a graph of any size, a serialized one, or the path of a file.
        provider: execution provider; nodes that it cannot take are an error, unless it is the CPU itself.
        provider_options: the provider's own options, as onnxruntime names them.
        threads: threads within an operator; 0 lets onnxruntime choose.
        optimize: whether onnxruntime may rewrite the graph.
        write_optimized: where to write the graph that onnxruntime makes of it, its memory layout left as it is; weights
            go to a file beside it.
        sparing: whether to spare CPU time and memory, at the price of some latency: idle threads sleep instead of spinning,
            and a value is read as soon as it is there, so that it can be freed.

    Raises:
        ProviderError: the provider is absent, refuses its options, or is not the one that would run.
        GraphError: onnxruntime cannot load the graph.
    """
    options = make_options(threads=threads, optimize=optimize, write_optimized=write_optimized, sparing=sparing)
    weights: list[ort.OrtValue] = []
    if isinstance(graph, ir.Model):
        graph, weights = _hand_over(graph, options)
    session = start_session(graph, options, provider, provider_options)
    session.foldpress_weights = weights  # onnxruntime reads them where they lie
    return session


def _hand_over(model: ir.Model, options: Any) -> tuple[bytes, list[Any]]:
    """The graph as bytes without its heavy weights, which `options` now holds and which the session must keep."""
    proto, arrays = light_proto(model)
    weights = [ort.OrtValue.ortvalue_from_numpy(array) for array in arrays.values()]
    options.add_external_initializers(list(arrays), weights)
    return proto.SerializeToString(deterministic=True), weights


def predict(session: Any, dataset: Dataset, batch: int, label: str = "predicting") -> list[Array]:
    """Every output of the graph for every sample, in order, each [N, …].

    Raises:
        GraphError: the graph fails on a batch, or its output does not keep the sample axis.
    """
    steps = -(-len(dataset) // batch)
    collected = [run(session, feed) for feed in track(dataset.batches(batch), label, steps)]
    return [np.concatenate(parts) for parts in zip(*collected, strict=True)]


def run(session: Any, feed: dict[str, Array]) -> list[Array]:
    """One run of a session; each output keeps the sample axis.

    Raises:
        GraphError: onnxruntime refuses the feed, or an output is no array with one row a sample.
    """
    size = len(next(iter(feed.values())))
    outputs = fetch(session, None, feed)
    for value, output in zip(session.get_outputs(), outputs, strict=True):
        if not isinstance(output, np.ndarray) or output.ndim == 0 or len(output) != size:
            shape = list(output.shape) if isinstance(output, np.ndarray) else type(output).__name__
            raise GraphError(f"output {value.name} is {shape} for {size} samples; the first axis must count samples")
    return outputs


def fetch(session: Any, names: list[str] | None, feed: dict[str, Array]) -> list[Array]:
    """The outputs of these names, or all, whatever their shapes.

    Raises:
        GraphError: onnxruntime refuses the feed.
    """
    try:
        return list(session.run(names, feed))
    except ORT_ERRORS as error:
        shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in feed.items())
        raise GraphError(f"the graph fails on real samples ({shapes}): {error}") from error
