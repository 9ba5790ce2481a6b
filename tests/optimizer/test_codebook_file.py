from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import pytest
from onnx import numpy_helper

from foldpress.codebook_weights import entropy
from foldpress.cost import graph_cost
from foldpress.data import Dataset
from foldpress.graph import load_graph, save_graph, serialize
from foldpress.optimizer.cleanup import clean_up
from foldpress.optimizer.codebook_file import CodebookFile
from foldpress.optimizer.lean import lean
from foldpress.optimizer.passes import apply
from foldpress.runtime import open_session, predict
from foldpress.storage.pack import pack

# Channels on axis 0 and on the last, and a grouped convolution.
TEXT = """<ir_version: 9, opset_import: ["" : 18]> g (float[N, 3, 6, 6] x) => (float[N, 7] y)
<int64[2] flat = {0, -1}> {
    c = Conv(x, C)
    d = Conv<group = 8>(c, D)
    f = Reshape(d, flat)
    g = Gemm<transB = 1>(f, G, b)
    y = MatMul(g, M)
}"""
SHAPES = {"C": (8, 3, 3, 3), "D": (8, 1, 2, 2), "G": (90, 72), "b": (90,), "M": (90, 70)}
CHANNELS = {"C": 0, "D": 0, "G": 0, "M": 1}


def graph(count: int, *, by_channel: bool = False, pruned: bool = True, opset: int = 18) -> ir.Model:
    """Weights of `count` values, and zeros where they are pruned."""
    proto = onnx.parser.parse_model(TEXT.replace("18", str(opset)).replace("[N, 7]", "[N, 70]"))
    random = np.random.default_rng(0)
    for name, shape in SHAPES.items():
        values = random.normal(size=(shape[CHANNELS.get(name, 0)] if by_channel else 1, count)).astype(np.float32)
        places = random.integers(0, count, shape)
        rows = np.moveaxis(places, CHANNELS.get(name, 0), 0).reshape(shape[CHANNELS.get(name, 0)], -1)
        taken = np.take_along_axis(np.broadcast_to(values, (len(rows), count)), rows, 1)
        first = (shape[CHANNELS.get(name, 0)], *np.delete(shape, CHANNELS.get(name, 0)))
        weight = np.moveaxis(taken.reshape(first), 0, CHANNELS.get(name, 0))
        stored = np.ascontiguousarray(weight * (random.random(shape) < 0.4) if pruned else weight)
        proto.graph.initializer.append(numpy_helper.from_array(stored, name))
    return apply(clean_up(), ir.from_proto(proto)).model


def written(model: ir.Model, folder: Path) -> Path:
    save_graph(apply([CodebookFile(), *lean()], model).model, folder / "shared.onnx")
    return folder / "shared.onnx"


def outputs(graph: Path | bytes) -> Any:
    data = Dataset({"x": np.random.default_rng(1).normal(size=(5, 3, 6, 6)).astype(np.float32)})
    return predict(open_session(graph), data, 5)[0]


@pytest.mark.parametrize("by_channel", [False, True])
@pytest.mark.parametrize(("count", "kind"), [(3, "uint2"), (15, "uint4"), (40, "uint8")])
def test_what_runs_stays_the_same_and_the_file_is_small(
    count: int, kind: str, by_channel: bool, tmp_path: Path
) -> None:
    """Catches places of another channel or layout, zeros and parameters that are counted wrongly, and wide places."""
    model = graph(count, by_channel=by_channel)
    path = written(model, tmp_path)
    np.testing.assert_array_equal(outputs(path), outputs(serialize(model)))
    before, after = graph_cost(model), graph_cost(load_graph(path))
    assert (after.parameters, after.sparsity, after.macs) == (before.parameters, before.sparsity, before.macs)
    layer = {layer.weight_shape: layer for layer in after.layers}[SHAPES["G"]]
    assert layer.precision == kind
    assert layer.sparsity == pytest.approx(0.6, abs=0.02)


@pytest.mark.parametrize("count", [3, 15, 40])
def test_nothing_of_it_is_left_in_the_graph_that_runs(count: int, tmp_path: Path) -> None:
    """Catches an onnxruntime that reads the codebook in every run."""
    path = written(graph(count, by_channel=True, pruned=False), tmp_path)
    open_session(path, write_optimized=tmp_path / "optimized.onnx")
    running = [node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node]
    assert not {"Gather", "Cast", "Add"} & set(running)


def test_a_graph_that_is_read_again_has_its_weights_back(tmp_path: Path) -> None:
    """Catches a shared graph that no other stage could prune, quantize or share anew."""
    model = graph(15, by_channel=True)
    again = apply(clean_up(), load_graph(written(model, tmp_path))).model
    assert [node.op_type for node in again.graph] == [node.op_type for node in model.graph]
    np.testing.assert_array_equal(outputs(serialize(again)), outputs(serialize(model)))


def test_weights_of_many_values_stay_as_they_are() -> None:
    """Catches a codebook that is larger than what it replaces."""
    result = apply([CodebookFile()], graph(300, pruned=False))
    assert {entry.action for entry in result.log if entry.subject != "node_4"} == {"declined"}
    assert all("too many" in entry.detail or "more than it saves" in entry.detail for entry in result.log[:3])


@pytest.mark.parametrize("pruned", [False, True])
@pytest.mark.parametrize("by_channel", [False, True])
@pytest.mark.parametrize("count", [2, 3, 15])
def test_packing_comes_within_two_percent_of_the_entropy(
    count: int, by_channel: bool, pruned: bool, tmp_path: Path
) -> None:
    """Catches places that are spread over too many bytes, or whose values differ from channel to channel."""
    values = np.random.default_rng(0).normal(size=(300 if by_channel else 1, count)).astype(np.float32)
    places = np.random.default_rng(1).integers(0, count, (300, 400))
    stays = np.random.default_rng(2).random(places.shape) < (0.1 if pruned else 1)
    model = onnx.parser.parse_model(
        """<ir_version: 9, opset_import: ["" : 18]> g (float[N, 400] x) => (float[N, 300] y) {y = Gemm<transB = 1>(x, w)}"""
    )
    weight = np.take_along_axis(np.broadcast_to(values, (300, count)), places, 1) * stays
    model.graph.initializer.append(numpy_helper.from_array(weight, "w"))
    packed = pack(written(apply(clean_up(), ir.from_proto(model)).model, tmp_path))
    rows = {tuple(row["shape"]): row for row in packed.tensors}
    best = entropy(np.where(stays, places + 1, 0)) * places.size / 8
    assert rows[300, 400]["packed_bytes"] <= 1.02 * best
    assert packed.bytes <= 1.02 * best + values.nbytes + 4 * len(values) + 700
