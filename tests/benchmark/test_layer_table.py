"""The table of layers: before and after, by name, whatever order the graphs hold them in."""

from dataclasses import replace
from typing import Any

from foldpress.benchmark.evidence import Evidence
from foldpress.benchmark.html_tables import Cell, Table
from foldpress.benchmark.layer_table import layer_table

pytest_plugins = ["report_fixture"]
Report = dict[str, Any]


def row(table: Table, name: str) -> dict[str, Cell]:
    """A layer's cells by title."""
    found = next(cells for cells in table.rows if cells[0].text == name)
    return dict(zip(table.titles, found, strict=True))


def test_before_and_after_are_the_same_layer(report: Report, evidence: Evidence) -> None:
    """Catches layers matched by place: quantized graphs hold them in another order."""
    layers = evidence.facts["layers"]
    layers["quantized.onnx"] = layers["quantized.onnx"][::-1]
    pruned = row(layer_table(report, evidence), "conv2")
    assert (pruned["weight"].text, pruned["weight"].under) == ("20 × 16 × 3 × 3", "from 32 × 16 × 3 × 3")
    assert (pruned["bytes"].text, pruned["bytes"].under) == ("2,880", "from 18,432")
    assert (pruned["precision"].text, pruned["precision"].under) == ("int8", "from float32")
    kept = row(layer_table(report, evidence), "conv1")
    assert (kept["precision"].text, kept["parameters"].under) == ("float32", "")


def test_kernels_are_those_that_run(report: Report, evidence: Evidence) -> None:
    """Catches the kernel of one layer at another, and a blank where onnxruntime's name is not known."""
    kernels = {"integer": {"QLinearConv": 1}, "integer_layers": {"conv2": "QLinearConv"},
               "float_layers": {"conv1": "Conv"}, "conversions": 2}  # fmt: skip
    report["graphs"]["quantized.onnx"]["kernels"] = kernels
    table = layer_table(report, evidence)
    assert [cells[-1].text for cells in table.rows] == ["Conv", "QLinearConv", "–"]
    assert table.rows[-1][-1].note == 1
    assert table.notes == ["onnxruntime runs it under another name"]


def test_layers_of_only_one_graph_are_shown(report: Report, evidence: Evidence) -> None:
    """Catches a layer that disappeared without a word."""
    layers = evidence.facts["layers"]
    layers["exported.onnx"].append({**layers["exported.onnx"][0], "name": "folded"})
    layers["quantized.onnx"].append({**layers["quantized.onnx"][0], "name": "merged"})
    table = layer_table(report, evidence)
    assert row(table, "folded")["bytes"].text == "–"
    assert "not a layer of the artifact" in table.notes
    assert row(table, "merged")["bytes"].under == ""


def test_nothing_recorded_is_an_empty_table(report: Report, evidence: Evidence) -> None:
    """Catches a crash on evidence without layers."""
    assert layer_table(report, replace(evidence, facts={})).rows == []
