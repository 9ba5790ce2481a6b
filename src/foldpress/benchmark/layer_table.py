"""Every layer of the baseline and what became of it in the artifact: what it holds, costs and runs as."""

from collections.abc import Mapping
from typing import Any

from foldpress.benchmark.evidence import Evidence
from foldpress.benchmark.html_tables import Cell, Table
from foldpress.benchmark.table import DASH, block, count, percent

_GONE = "not a layer of the artifact"
_NO_NAME = "onnxruntime runs it under another name"
_SIZES = ("parameters", "macs", "bytes")

Layers = dict[str, dict[str, Any]]


def layer_table(report: Mapping[str, Any], evidence: Evidence) -> Table:
    """One row a layer, by its name in the graphs: the artifact's figures, with the baseline's below where they differ."""
    titles = ["layer", "operator", "weight", "parameters", "MACs", "bytes", "zeros", "precision", "kernel"]
    table = Table(titles)
    before = _by_name(evidence, evidence.facts.get("baseline"))
    after = _by_name(evidence, report.get("artifact"))
    kernels = _kernels(report)
    for name in [*before, *(name for name in after if name not in before)]:
        kernel = Cell(kernels[name]) if name in kernels else table.dash(_NO_NAME if kernels else None)
        ships = name in after
        table.rows.append(_row(before.get(name, {}), after[name], kernel) if ships else _gone(table, before[name]))
    return table


def _by_name(evidence: Evidence, graph: object) -> Layers:
    layers = evidence.facts.get("layers") or {}
    return {layer["name"]: layer for layer in layers.get(graph) or []}


def _kernels(report: Mapping[str, Any]) -> dict[str, str]:
    """What the artifact's layers run as."""
    kernels = block(report, "graphs", str(report.get("artifact")), "kernels")
    return {**(kernels.get("float_layers") or {}), **(kernels.get("integer_layers") or {})}


def _gone(table: Table, before: Mapping[str, Any]) -> list[Cell]:
    return [Cell(before["name"]), Cell(before["operator"]), *[table.dash(_GONE)] * (len(table.titles) - 2)]


def _row(before: Mapping[str, Any], after: Mapping[str, Any], kernel: Cell) -> list[Cell]:
    return [
        Cell(after["name"]),
        _changed(after["operator"], before.get("operator")),
        _changed(_shape(after), _shape(before)),
        *(_changed(count(after[key]), count(before.get(key))) for key in _SIZES),
        Cell(percent(after["sparsity"])),
        _changed(_precision(after), _precision(before)),
        kernel,
    ]


def _changed(after: str, before: str | None) -> Cell:
    return Cell(after, f"from {before}" if before not in (None, after, DASH, "") else "")


def _shape(layer: Mapping[str, Any]) -> str:
    return " × ".join(map(str, layer.get("weight_shape") or ())) or DASH


def _precision(layer: Mapping[str, Any]) -> str:
    """As ONNX names it, but for its "float", which means 32 bits."""
    named = str(layer.get("precision") or "")
    return "float32" if named == "float" else named
