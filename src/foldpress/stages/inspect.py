"""What a graph is made of."""

from pathlib import Path
from typing import Any

from foldpress.benchmark.report import describe_cost
from foldpress.cost import graph_cost, layer_entries
from foldpress.graph import load_graph
from foldpress.kernels import kernels_entry


def inspect(graph: Path | str) -> dict[str, Any]:
    """Operators, parameters, MACs, bytes and sparsity of a graph, by layer and in all, and which kernels run on this CPU.

    Raises:
        GraphError: no such graph, or a damaged one.
    """
    path = Path(graph)
    cost = graph_cost(load_graph(path))
    found = describe_cost(path, cost) | {"operators": cost.operators, "layers": layer_entries(cost)}
    return found | kernels_entry(path)
