"""Graphs that one file cannot hold: the same paths, on a tiny graph, with the limits lowered."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import pytest
from onnx import numpy_helper

import foldpress
from conftest import Classifier, WriteRecipe
from foldpress import external, files, graph
from foldpress.benchmark.report import describe_graph
from foldpress.external import light_proto
from foldpress.files import sha256
from foldpress.graph import graph_files, load_graph, remove_graph, save_graph, serialize
from foldpress.optimizer.lean import LeanFile
from foldpress.optimizer.passes import apply
from foldpress.provenance import digests
from foldpress.recipe import load_recipe
from foldpress.runtime import open_session
from foldpress.sources import read_data

TEXT = """<ir_version: 9, opset_import: ["" : 18]> g (float[N, 16] x) => (float[N, 16] y) {
    h = MatMul(x, V)  r = Relu(h)  y = Gemm <transB = 1> (r, W) }"""
X = np.random.default_rng(1).normal(size=(5, 16)).astype(np.float32)


@pytest.fixture
def low(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits so low that two matrices of 16 × 16 are too much for one file."""
    monkeypatch.setattr(external, "_HEAVY_BYTES", 1024)
    monkeypatch.setattr(graph, "_SINGLE_FILE_BYTES", 1500)


def model(seed: int = 0) -> ir.Model:
    proto = onnx.parser.parse_model(TEXT)
    generator = np.random.default_rng(seed)
    for name, shape in (("V", (16, 16)), ("W", (16, 16))):
        proto.graph.initializer.append(numpy_helper.from_array(generator.normal(size=shape).astype(np.float32), name))
    read: ir.Model = ir.from_proto(proto)
    return read


def scores(graph_or_path: ir.Model | Path | bytes) -> Any:
    return open_session(graph_or_path, optimize=False).run(None, {"x": X})[0]


@pytest.mark.usefixtures("low")
def test_a_pair_is_written_and_read_again(tmp_path: Path) -> None:
    """Catches weights that are lost, misplaced or left in the graph, on either side, and bytes that differ between two runs."""
    expected = scores(serialize(model()))
    for name in ("net.onnx", "again/net.onnx"):
        save_graph(model(), tmp_path / name)
    assert (tmp_path / "net.onnx").stat().st_size < 700
    assert [sha256(one) for one in graph_files(tmp_path / "net.onnx")] == [
        sha256(one) for one in graph_files(tmp_path / "again/net.onnx")
    ]
    read = load_graph(tmp_path / "net.onnx")
    kinds = {str(name): type(value.const_value) for name, value in read.graph.initializers.items()}
    assert set(kinds.values()) == {ir.ExternalTensor}
    for one in (read, tmp_path / "net.onnx", serialize(read)):
        assert np.array_equal(scores(one), expected)
    assert describe_graph(tmp_path / "net.onnx")["bytes"] == sum(
        one.stat().st_size for one in tmp_path.iterdir() if one.is_file()
    )


@pytest.mark.usefixtures("low")
def test_a_second_pair_takes_the_place_of_the_first(tmp_path: Path) -> None:
    """Catches weights of the old graph that stay behind, or a neighbor's that are removed with them."""
    neighbor = tmp_path / "net.onnx.other.data"
    neighbor.write_text("not ours")
    for seed in (0, 1):
        save_graph(model(seed), tmp_path / "net.onnx")
        assert np.array_equal(scores(load_graph(tmp_path / "net.onnx")), scores(serialize(model(seed))))
    assert set(tmp_path.iterdir()) == {neighbor, *graph_files(tmp_path / "net.onnx")}
    save_graph(load_graph(tmp_path / "net.onnx"), tmp_path / "net.onnx")  # over the very file that it is read from
    assert np.array_equal(scores(tmp_path / "net.onnx"), scores(serialize(model(1))))
    remove_graph(tmp_path / "net.onnx")
    assert list(tmp_path.iterdir()) == [neighbor]


@pytest.mark.usefixtures("low")
def test_a_small_graph_after_a_large_one_stands_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a graph that still refers to the file that it was read from, and that file left behind."""
    save_graph(model(), tmp_path / "large.onnx")
    save_graph(model(), tmp_path / "net.onnx")
    read = load_graph(tmp_path / "large.onnx")
    monkeypatch.setattr(graph, "_SINGLE_FILE_BYTES", 10_000)
    save_graph(read, tmp_path / "net.onnx")
    remove_graph(tmp_path / "large.onnx")
    assert [one.name for one in tmp_path.iterdir()] == ["net.onnx"]
    assert np.array_equal(scores(tmp_path / "net.onnx"), scores(serialize(model())))


@pytest.mark.usefixtures("low")
@pytest.mark.parametrize("survives", [0, 1])
def test_a_crash_between_the_two_files_leaves_a_whole_graph(
    survives: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches an old graph that reads new weights: sizes agree, numbers do not, and nothing would tell."""
    path = tmp_path / "net.onnx"
    save_graph(model(0), path)
    flushed: list[Path] = []

    def crash(one: Path) -> None:
        if len(flushed) == survives:
            raise RuntimeError("power cut")
        flushed.append(one)

    with monkeypatch.context() as during:
        during.setattr(files, "_flush", crash)
        with pytest.raises(RuntimeError, match="power cut"):
            save_graph(model(1), path)
    assert np.array_equal(scores(path), scores(serialize(model(0))))
    assert len(list(tmp_path.iterdir())) == 2 + survives
    save_graph(model(1), path)
    assert np.array_equal(scores(path), scores(serialize(model(1))))
    assert set(tmp_path.iterdir()) == set(graph_files(path))


@pytest.mark.usefixtures("low")
def test_light_graphs_hold_no_heavy_weight(tmp_path: Path) -> None:
    """Catches what makes a graph too large for protobuf, and a graph that is changed by being looked at."""
    save_graph(model(), tmp_path / "net.onnx")
    read = load_graph(tmp_path / "net.onnx")
    before = serialize(read)
    proto, weights = light_proto(read)
    assert set(weights) == {"V", "W"}
    assert proto.ByteSize() < 500
    assert serialize(read) == before
    lean = apply([LeanFile()], read)
    save_graph(lean.model, tmp_path / "lean.onnx")
    size = sum(one.stat().st_size for one in graph_files(tmp_path / "lean.onnx"))
    said = int(lean.log[0].detail.split(" to ")[1].split(":")[0].replace(",", ""))
    assert size == pytest.approx(said, abs=150)  # what names, offset and length of the weights' file take


def test_weights_in_attributes_are_read_into_memory(tmp_path: Path) -> None:
    """Catches a graph that, written elsewhere, looks for a constant in a file that is not there."""
    proto = onnx.parser.parse_model(
        """<ir_version: 9, opset_import: ["" : 18]> g (float[N, 16] x) => (float[N, 16] y) { y = Add(x, c) }"""
    )
    constant = numpy_helper.from_array(np.arange(16, dtype=np.float32))
    proto.graph.node.insert(0, onnx.helper.make_node("Constant", [], ["c"], value=constant))
    onnx.save(
        proto,
        tmp_path / "net.onnx",
        save_as_external_data=True,
        location="c.bin",
        size_threshold=0,
        convert_attribute=True,
    )
    assert (tmp_path / "c.bin").stat().st_size == 64
    save_graph(load_graph(tmp_path / "net.onnx"), tmp_path / "elsewhere/net.onnx")
    assert np.array_equal(scores(tmp_path / "elsewhere/net.onnx"), X + np.arange(16, dtype=np.float32))


@pytest.fixture
def large(classifier: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The classifier in a folder of its own, too large for one file."""
    monkeypatch.setattr(external, "_HEAVY_BYTES", 1024)
    monkeypatch.setattr(graph, "_SINGLE_FILE_BYTES", 2048)
    folder = tmp_path / "large"
    shutil.copytree(classifier.folder, folder)
    save_graph(ir.from_proto(classifier.proto), folder / "net.onnx")
    assert len(graph_files(folder / "net.onnx")) == 2
    return folder


@pytest.mark.parametrize("precision", ["static", "dynamic", "weight-int8", "weights", "float16"])
def test_every_precision_takes_a_large_graph(large: Path, precision: str) -> None:
    """Catches a quantizer that is handed a graph without its weights, or leaves its own behind in a folder that is gone."""
    data = read_data(str(large / "data.npz"), large)
    output = large / "out.onnx"
    bits = 8 if precision == "weights" else None
    foldpress.quantize(large / "net.onnx", output, data=str(large / "data.npz"), precision=precision, bits=bits)
    before, after = (
        open_session(one).run(None, {"x": data.batch(slice(None))["x"]})[0] for one in (large / "net.onnx", output)
    )
    assert (before.argmax(1) == after.argmax(1)).mean() > 0.97


def test_pruning_and_inspection_take_a_large_graph(large: Path) -> None:
    """Catches a figure that leaves out the weights beside the graph."""
    options: dict[str, Any] = {"method": "unstructured", "sparsity": 0.5}
    foldpress.prune(large / "net.onnx", large / "out.onnx", data=str(large / "data.npz"), **options)
    found = foldpress.inspect(large / "out.onnx")
    assert found["sparsity"] == pytest.approx(0.5, abs=0.02)
    assert found["bytes"] == sum(one.stat().st_size for one in graph_files(large / "out.onnx"))
    assert len(graph_files(large / "out.onnx")) == 2
    assert found["kernels"] is not None


def test_a_run_vouches_for_the_weights_beside_its_graphs(
    recipe: WriteRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a manifest, a resumed run or a digest that knows the graph alone, and would pass other weights for these."""
    monkeypatch.setattr(external, "_HEAVY_BYTES", 1024)
    monkeypatch.setattr(graph, "_SINGLE_FILE_BYTES", 2048)
    path, out = recipe(quantize={"precision": "static"}), tmp_path / "out"
    foldpress.run(path, out)
    listed = json.loads((out / "manifest.json").read_text())["files"]
    for name in ("exported.onnx", "quantized.onnx"):
        for one in graph_files(out / name):
            assert listed[one.name] == {"sha256": sha256(one), "bytes": one.stat().st_size}
    data = graph_files(out / "exported.onnx")[1]
    whole = data.read_bytes()
    data.write_bytes(bytes(len(whole)))
    assert foldpress.gate(out)["verdict"] == "INCONCLUSIVE"
    foldpress.run(path, out, resume=True)
    assert data.read_bytes() == whole


@pytest.mark.usefixtures("low")
def test_digests_tell_other_weights_beside_the_same_graph(recipe: WriteRecipe, tmp_path: Path) -> None:
    """Catches results of one model taken over for another whose graph file is the same, byte for byte."""
    path = recipe()
    onnx.save(
        ir.to_proto(model()), tmp_path / "net.onnx", save_as_external_data=True, location="w.bin", size_threshold=0
    )
    data = read_data(str(tmp_path / "data.npz"), tmp_path)
    before = digests(load_recipe(path), data, {})
    (tmp_path / "w.bin").write_bytes((tmp_path / "w.bin").read_bytes()[::-1])
    assert digests(load_recipe(path), data, {})["model"] != before["model"]
