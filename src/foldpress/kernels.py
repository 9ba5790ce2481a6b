"""Which kernels really run: read from the graph that onnxruntime makes for a provider, not from the file.

A file full of Q/DQ pairs may run in float all the same: a pair that does not fuse with its operator is two more operators.
"""

import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import onnx

from foldpress.errors import FoldpressError
from foldpress.macs import MATRIX_OPERATORS
from foldpress.providers import CPU
from foldpress.runtime import open_session

_INTEGER = {"QGemm", "MatMulInteger", "ConvInteger", "MatMulIntegerToFloat", "DynamicQuantizeMatMul", "QAttention",
            "DynamicQuantizeLSTM", "MatMulNBits", "GatherBlockQuantized", "NhwcMaxPool"}  # fmt: skip
CONVERSIONS = {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"}
_FUSED = ("Fused", "Nhwc")  # what onnxruntime puts before an operator's name where it took in a neighbor


@dataclass(frozen=True)
class Kernels:
    """What runs: integer kernels by type, matrix layers by name with their kernel, and conversions between the two."""

    integer: dict[str, int]
    integer_layers: dict[str, str]
    float_layers: dict[str, str]
    conversions: int


def kernels_entry(
    graph: Path, provider: str = CPU, provider_options: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """`kernels` as it stands in reports; null, with the reason, where the provider does not show what it runs."""
    try:
        return {"kernels": asdict(running_kernels(graph, provider, provider_options))}
    except FoldpressError as error:
        return {"kernels": None, "kernels_why": str(error).splitlines()[0]}


def running_kernels(graph: Path, provider: str = CPU, provider_options: Mapping[str, str] | None = None) -> Kernels:
    """The kernels of a graph on a provider.

    Raises:
        ProviderError: the provider is absent, or cannot run a node.
        GraphError: onnxruntime cannot load the graph.
    """
    with tempfile.TemporaryDirectory(prefix="foldpress.") as folder:
        optimized = Path(folder) / "optimized.onnx"
        open_session(graph, provider=provider, provider_options=provider_options, write_optimized=optimized)
        nodes = onnx.load(optimized, load_external_data=False).graph.node
    counts = Counter(node.op_type for node in nodes)
    integer = {name: counts[name] for name in sorted(counts) if name in _INTEGER or name.startswith("QLinear")}
    kinds = {node.name: _plain(node.op_type) for node in nodes}
    layers = {name: kind for name, kind in kinds.items() if kind in MATRIX_OPERATORS or "MatMul" in kind}
    return Kernels(
        integer,
        {name: kind for name, kind in layers.items() if kind in integer},
        {name: operator for name, operator in layers.items() if operator not in integer},
        sum(counts[name] for name in CONVERSIONS),
    )


def _plain(operator: str) -> str:
    for prefix in _FUSED:
        operator = operator.removeprefix(prefix)
    return operator
