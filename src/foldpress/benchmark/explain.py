"""Why is a graph slow? What its nodes take, as onnxruntime's profiler tells, and which of them need not be there.

Times of nodes show where time goes inside a graph; how much faster one graph is than another, `latency.py` tells.
"""

import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx

from foldpress.benchmark.latency import check_request, save_feeds
from foldpress.benchmark.plan import LatencyPlan
from foldpress.benchmark.processes import work
from foldpress.data import Dataset
from foldpress.kernels import CONVERSIONS

_WORKER = "foldpress.benchmark.profile_worker"
# Copies between devices, changes of layout and of type: work that is no part of the network.
_MOVES = {"MemcpyFromHost", "MemcpyToHost", "ReorderInput", "ReorderOutput", "Transpose", "Cast"}
_COPY = re.compile(r"_token_\d+$")  # what onnxruntime adds to the name of a node that it made anew
_BLOCKED = "_nchwc"  # and to the name of the output of a convolution whose layout it changed, to name the node


def explain(graphs: Mapping[str, Path], dataset: Dataset, plan: LatencyPlan) -> dict[str, Any]:
    """Graphs node by node: `graphs`, `operators` and `layers` side by side, and the setting.

    For each graph: `run_us`, `outside_us` (a run's time that no node took), every node with the `layer` that it comes from, and
    its own lists of `not_fused` (conversions between float and integers left over), `moves` (copies, layouts, types) and
    `elsewhere` (nodes that another provider than the one asked for ran).

    Raises:
        ProviderError: the provider is absent.
        RequestError: the data or a graph do not fit the batch size.
    """
    check_request(graphs, dataset, plan)
    with tempfile.TemporaryDirectory(prefix="foldpress.") as name:
        request = {
            "graphs": {name: str(Path(path).resolve()) for name, path in graphs.items()},
            "feeds": str(save_feeds(dataset, plan.batch, Path(name))),
            "batch": plan.batch, "provider": plan.provider, "provider_options": dict(plan.provider_options),
            "threads": plan.threads,
        }  # fmt: skip
        profiles = work(_WORKER, request, Path(name))
    for name, path in graphs.items():
        producers = _producers(path)
        for node in profiles[name]["nodes"]:
            node["layer"] = _layer(node["name"], node["operator"], producers)
    setting = {"provider": plan.provider, "batch": plan.batch, "threads": plan.threads}
    return setting | {
        "graphs": {name: _sorted_out(profile, plan.provider) for name, profile in profiles.items()},
        "operators": _operators(profiles),
        "layers": _layers(profiles),
    }


def _sorted_out(profile: dict[str, Any], provider: str) -> dict[str, Any]:
    nodes = profile["nodes"]
    return profile | {
        "outside_us": max(0.0, profile["run_us"] - sum(node["us"] for node in nodes)),
        "not_fused": [node for node in nodes if node["operator"] in CONVERSIONS],
        "moves": [node for node in nodes if node["operator"] in _MOVES],
        "elsewhere": [node for node in nodes if node["provider"] != provider],
    }


def _producers(graph: Path) -> dict[str, onnx.NodeProto]:
    """The node behind every value of a file."""
    nodes = onnx.load(graph, load_external_data=False).graph.node
    return {output: node for node in nodes for output in node.output}


def _layer(name: str, operator: str, producers: Mapping[str, onnx.NodeProto]) -> str:
    """The name in the file of a node that runs: without what onnxruntime added, and before what it fused behind it."""
    name = _COPY.sub("", name)
    if not name.endswith(_BLOCKED):
        return name
    name = name.removesuffix(_BLOCKED)
    node = producers.get(name)
    while node is not None and node.op_type != operator and node.input:
        node = producers.get(node.input[0])
    return node.name if node is not None and node.op_type == operator and node.name else name


def _operators(profiles: dict[str, Any]) -> list[dict[str, Any]]:
    """By operator, the costliest first: how many nodes of each graph, and their time in all."""
    names = {node["operator"] for profile in profiles.values() for node in profile["nodes"]}
    rows = []
    for operator in names:
        found = {graph: [node["us"] for node in profile["nodes"] if node["operator"] == operator]
                 for graph, profile in profiles.items()}  # fmt: skip
        rows.append({"operator": operator, "nodes": {graph: len(us) for graph, us in found.items()},
                     "us": {graph: sum(us) for graph, us in found.items()}})  # fmt: skip
    return sorted(rows, key=lambda row: (-max(row["us"].values()), row["operator"]))


def _layers(profiles: dict[str, Any]) -> list[dict[str, Any]]:
    """By layer, the costliest first; a layer that was fused or replaced is missing (null) in that graph."""
    rows: dict[str, dict[str, Any]] = {}
    for graph, profile in profiles.items():
        for node in profile["nodes"]:
            layer = node["layer"]
            row = rows.setdefault(
                layer, {"layer": layer, "operator": dict.fromkeys(profiles), "us": dict.fromkeys(profiles)}
            )
            row["operator"][graph] = node["operator"]
            row["us"][graph] = (row["us"][graph] or 0.0) + node["us"]
    return sorted(rows.values(), key=lambda row: -max(us for us in row["us"].values() if us is not None))
