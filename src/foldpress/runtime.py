"""onnxruntime sessions that run where they were asked to run, or not at all."""

import difflib
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from foldpress.data import Array, Dataset
from foldpress.errors import GraphError, ProviderError
from foldpress.external import light_proto
from foldpress.progress import track

CPU = "CPUExecutionProvider"

_PACKAGES = {
    "CUDAExecutionProvider": "onnxruntime-gpu",
    "TensorrtExecutionProvider": "onnxruntime-gpu, with TensorRT installed",
    "OpenVINOExecutionProvider": "onnxruntime-openvino",
    "DmlExecutionProvider": "onnxruntime-directml",
    "QNNExecutionProvider": "onnxruntime-qnn",
    "CoreMLExecutionProvider": "onnxruntime on macOS",
}
_LOAD_ERRORS = tuple(
    getattr(ort_errors, name)
    for name in ("Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NoModel", "NoSuchFile",
                 "NotImplemented", "RuntimeException")
)  # fmt: skip
_ERRORS_ONLY = 3  # onnxruntime's log severity


def check_provider(provider: str) -> None:
    """Refuse a provider that this onnxruntime does not have.

    Raises:
        ProviderError: unknown, or known but not in the installed package; says which package has it.
    """
    available = ort.get_available_providers()
    if provider in available:
        return
    known = ort.get_all_providers()
    if provider in known:
        package = _PACKAGES.get(provider, "a build of onnxruntime made with it")
        raise ProviderError(
            f"{provider} is not in the installed onnxruntime", available=", ".join(available), mend=f"install {package}"
        )
    folded = {name.lower(): name for name in known}  # capitals are what one gets wrong first
    near = difflib.get_close_matches(provider.lower(), folded, 1)
    raise ProviderError(
        f"there is no provider {provider!r}",
        available=", ".join(available),
        mend=f"did you mean {folded[near[0]]}?" if near else None,
    )


def open_session(
    graph: ir.Model | bytes | Path,
    *,
    provider: str = CPU,
    threads: int = 0,
    optimize: bool = True,
    write_optimized: Path | None = None,
    sparing: bool = False,
) -> Any:
    """An onnxruntime session on exactly this provider; nothing falls back in silence.

    Args:
        graph: a graph of any size, a serialized one, or the path of a file.
        provider: execution provider; nodes that it cannot take are an error, unless it is the CPU itself.
        threads: threads within an operator; 0 lets onnxruntime choose.
        optimize: whether onnxruntime may rewrite the graph.
        write_optimized: where to write the graph that onnxruntime makes of it, its memory layout left as it is; weights
            go to a file beside it.
        sparing: whether to spare CPU time and memory, at the price of some latency: idle threads sleep instead of spinning,
            and a value is read as soon as it is there, so that it can be freed.

    Raises:
        ProviderError: the provider is absent, or is not the one that would run.
        GraphError: onnxruntime cannot load the graph.
    """
    check_provider(provider)
    options = ort.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    if provider != CPU:
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    if sparing:
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.execution_order = ort.ExecutionOrder.PRIORITY_BASED
    if not optimize:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    if write_optimized is not None:
        options.optimized_model_filepath = str(write_optimized)
        options.add_session_config_entry(
            "session.optimized_model_external_initializers_file_name", f"{write_optimized.name}.data"
        )
        # One level below the default: changing the layout would rename layers.
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    weights: list[ort.OrtValue] = []
    if isinstance(graph, ir.Model):
        graph, weights = _hand_over(graph, options)
    try:
        session = ort.InferenceSession(graph if isinstance(graph, bytes) else str(graph), options, providers=[provider])
    except _LOAD_ERRORS as error:
        if "fallback" in str(error).lower():
            raise ProviderError(f"{provider} cannot run every node of this graph: {error}") from error
        name = "the graph" if isinstance(graph, bytes) else str(graph)
        raise GraphError(f"onnxruntime cannot load {name}: {error}") from error
    if session.get_providers()[0] != provider:
        raise ProviderError(f"asked for {provider}, but onnxruntime chose {session.get_providers()[0]}")
    session.foldpress_weights = weights  # onnxruntime reads them where they lie
    return session


def placement(session: Any) -> dict[str, float]:
    """The share of the optimized graph's nodes that each provider runs."""
    counts: Counter[str] = Counter()
    for part in session.get_provider_graph_assignment_info():
        counts[part.ep_name] += len(part.get_nodes())
    total = sum(counts.values())
    return {provider: count / total for provider, count in sorted(counts.items())} if total else {}


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
    except _LOAD_ERRORS as error:
        shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in feed.items())
        raise GraphError(f"the graph fails on real samples ({shapes}): {error}") from error
