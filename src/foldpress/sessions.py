"""onnxruntime sessions that run where they were asked to run, or not at all.

Imports little, so that the processes that time graphs start fast and hold nothing but the graph.
"""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from foldpress.errors import GraphError, ProviderError
from foldpress.providers import CPU, add_provider, check_provider

ORT_ERRORS = tuple(
    getattr(ort_errors, name)
    for name in ("Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NoModel", "NoSuchFile",
                 "NotImplemented", "RuntimeException")
)  # fmt: skip
_EP_ERRORS = (
    *(getattr(ort_errors, name) for name in ("EPFail",) if hasattr(ort_errors, name)),
    RuntimeError,
    ValueError,
)
_ERRORS_ONLY = 3  # onnxruntime's log severity


def make_options(
    *,
    threads: int = 0,
    optimize: bool = True,
    write_optimized: Path | None = None,
    sparing: bool = False,
) -> Any:
    """Session options; the arguments are those of `runtime.open_session`."""
    options = ort.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
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
    return options


def start_session(
    graph: bytes | Path,
    options: Any,
    provider: str = CPU,
    provider_options: Mapping[str, str] | None = None,
    *,
    fallback: bool = False,
) -> Any:
    """A session of a serialized graph, or of a file, on exactly this provider, unless single nodes may fall to the CPU.

    Raises:
        ProviderError: the provider is absent, refuses its options, or is not the one that would run.
        GraphError: onnxruntime cannot load the graph.
    """
    given = dict(provider_options or {})
    check_provider(provider, given)
    if provider != CPU and not fallback:
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    providers = add_provider(options, provider, given, options.intra_op_num_threads)
    try:
        # Left to itself, onnxruntime prints what went wrong on stdout, and goes on with the CPU.
        session = ort.InferenceSession(
            graph if isinstance(graph, bytes) else str(graph), options, providers=providers, enable_fallback=0
        )
    except ORT_ERRORS as error:
        if "fallback" in str(error).lower():
            raise ProviderError(
                f"{provider} cannot run every node of this graph: {error}",
                mend="foldpress bench GRAPH --explain shows which nodes it leaves to the CPU",
            ) from error
        name = "the graph" if isinstance(graph, bytes) else str(graph)
        raise GraphError(f"onnxruntime cannot load {name}: {error}") from error
    except _EP_ERRORS as error:
        raise ProviderError(f"{provider} does not start{_with(given)}: {error}") from error
    if session.get_providers()[0] != provider:
        raise ProviderError(f"asked for {provider}{_with(given)}, but onnxruntime chose {session.get_providers()[0]}")
    return session


def placement(session: Any) -> dict[str, float]:
    """The share of the graph's nodes that each provider runs."""
    counts: Counter[str] = Counter()
    for part in session.get_provider_graph_assignment_info():
        counts[part.ep_name] += len(part.get_nodes())
    total = sum(counts.values())
    return {provider: count / total for provider, count in sorted(counts.items())} if total else {}


def _with(options: Mapping[str, str]) -> str:
    return f" with {', '.join(f'{key} = {value}' for key, value in options.items())}" if options else ""
