from pathlib import Path

import numpy as np
import onnx.parser
import onnx_ir as ir
import pytest

from foldpress.data import Dataset
from foldpress.errors import GraphError
from foldpress.graph import save_graph
from foldpress.kernels import kernels_entry, running_kernels
from foldpress.optimizer.passes import apply
from foldpress.optimizer.static_int8 import StaticInt8, tensors_to_calibrate
from foldpress.optimizer.statistics import collect_ranges
from foldpress.optimizer.targets import TARGETS

pytest_plugins = ["trained"]


def quantized(graph: ir.Model, data: Dataset, left_float: dict[str, str]) -> ir.Model:
    data = data.renamed({"x": graph.graph.inputs[0].name or ""}).select(np.arange(32))
    numbers = np.zeros((1, len(data)), np.intp)
    ranges = collect_ranges(graph, tensors_to_calibrate(graph), data, numbers).all()
    return apply([StaticInt8(ranges, TARGETS["x86-vnni"], left_float)], graph).model


def test_a_float_graph_runs_in_float(tmp_path: Path, digits_graph: ir.Model) -> None:
    save_graph(digits_graph, tmp_path / "float.onnx")
    found = running_kernels(tmp_path / "float.onnx")
    assert found.integer == {}
    assert set(found.float_layers.values()) == {"Conv", "Gemm"}


def test_integer_kernels_are_counted_where_they_run(
    tmp_path: Path, digits_graph: ir.Model, digits_data: Dataset
) -> None:
    """Catches: Q/DQ pairs in the file taken for integer kernels; a layer that stayed float missed, or misnamed."""
    convolutions = [str(node.name) for node in digits_graph.graph if node.op_type == "Conv"]
    graph = quantized(digits_graph, digits_data, {convolutions[0]: "asked for"})
    save_graph(graph, tmp_path / "int8.onnx")
    found = running_kernels(tmp_path / "int8.onnx")
    assert found.integer["QLinearConv"] == len(convolutions) - 1
    assert found.float_layers == {convolutions[0]: "Conv"}
    assert found.integer_layers.keys() >= set(convolutions[1:])
    assert set(found.integer_layers.values()) == {"QLinearConv", "QGemm"}


def test_pairs_that_do_not_fuse_are_shown_as_float(tmp_path: Path) -> None:
    """Catches: a graph that looks quantized and runs in float: integers in the file alone make no integer kernel."""
    text = """<ir_version: 9, opset_import: ["" : 18]>
        net (float[N, 2, 4] x) => (float[N, 1, 2] y)
        <int8[1, 2, 3] stored = {1, 2, 3, 4, 5, 6}, float scale = {0.5}> {
            weight = DequantizeLinear (stored, scale)
            [layer] y = Conv (x, weight)
        }"""
    (tmp_path / "stored.onnx").write_bytes(onnx.parser.parse_model(text).SerializeToString())
    found = running_kernels(tmp_path / "stored.onnx")
    assert (found.integer, found.float_layers, found.conversions) == ({}, {"layer": "Conv"}, 1)


def test_what_cannot_be_loaded_has_a_reason_instead(tmp_path: Path) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"no graph")
    with pytest.raises(GraphError):
        running_kernels(path)
    entry = kernels_entry(path)
    assert entry["kernels"] is None
    assert "cannot load" in entry["kernels_why"]
