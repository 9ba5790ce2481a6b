"""Reading and writing ONNX files: what is damaged or unsafe is refused, what is written is whole or not there."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from conftest import Classifier
from foldpress.cost import graph_cost
from foldpress.data import InputSpec
from foldpress.errors import GraphError, OutputError
from foldpress.files import replacing, sha256
from foldpress.graph import (
    batch_size,
    copy_graph,
    initializer,
    input_specs,
    load_graph,
    save_graph,
    serialize,
    set_initializer,
    weight_bytes,
)

TEXT = """<ir_version: 9, opset_import: ["" : 18]> g (float[N, 4] x) => (float[N, 2] y) { y = MatMul(x, W) }"""
WEIGHT = np.arange(8, dtype=np.float32).reshape(4, 2)


def proto(text: str = TEXT) -> onnx.ModelProto:
    model = onnx.parser.parse_model(text)
    model.graph.initializer.append(numpy_helper.from_array(WEIGHT, "W"))
    return model


@pytest.fixture
def external(tmp_path: Path) -> Path:
    """The graph with its weight in weights.bin beside it, in a folder of its own."""
    folder = tmp_path / "model"
    folder.mkdir()
    onnx.save(proto(), folder / "net.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)
    return folder / "net.onnx"


def describe(tensor: TensorProto, **entries: object) -> TensorProto:
    """Make a tensor external, with these entries."""
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    del tensor.external_data[:]
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=str(value))
    return tensor


def redirect(path: Path, **entries: object) -> None:
    model = onnx.load(path, load_external_data=False)
    describe(model.graph.initializer[0], **entries)
    path.write_bytes(model.SerializeToString())


def test_external_weights_are_read(external: Path) -> None:
    """Catches a check that refuses what is in order."""
    model = load_graph(external)
    found = initializer(model, model.graph.initializers["W"])
    assert found is not None
    assert found.tolist() == WEIGHT.tolist()


@pytest.mark.parametrize("location", ["../weights.bin", "/etc/hostname", "a/../../weights.bin", "", "."])
def test_weights_outside_the_folder_are_refused(external: Path, location: str) -> None:
    """Catches path traversal: a stranger's graph that reads any file of this machine into its weights."""
    (external.parent.parent / "weights.bin").write_bytes(bytes(64))
    redirect(external, location=location, offset=0, length=32)
    with pytest.raises(GraphError, match="outside"):
        load_graph(external)


@pytest.mark.parametrize("link", ["symlink", "hardlink", "linked folder", "missing", "folder"])
def test_weights_that_are_no_plain_file_are_refused(external: Path, link: str) -> None:
    """Catches links, which onnxruntime would follow out of the folder, the folder on the way included."""
    secret = external.parent.parent / "secret"
    secret.mkdir()
    (secret / "weights.bin").write_bytes(bytes(64))
    target = external.parent / "weights.bin"
    target.unlink()
    location = "weights.bin"
    if link == "symlink":
        target.symlink_to(secret / "weights.bin")
    elif link == "hardlink":
        os.link(secret / "weights.bin", target)
    elif link == "linked folder":
        (external.parent / "sub").symlink_to(secret)
        location = "sub/weights.bin"
    elif link == "folder":
        target.mkdir()
    redirect(external, location=location, offset=0, length=32)
    with pytest.raises(GraphError, match="plain file"):
        load_graph(external)


@pytest.mark.parametrize(
    "entries",
    [{"offset": 1}, {"offset": 0, "length": 33}, {"offset": -1, "length": 1}, {"length": -5, "offset": 64}, {"offset": "x"},
     {"length": "1e3"}, {"offset": 8, "length": 24}],
)  # fmt: skip
def test_weights_beyond_the_end_are_refused(external: Path, entries: dict[str, Any]) -> None:
    """Catches offsets and lengths that the checker lets pass, and that read past the file; a length may be absent."""
    redirect(external, location="weights.bin", **entries)
    with pytest.raises(GraphError, match=r"beyond the end|badly described"):
        load_graph(external)


@pytest.mark.parametrize("place", ["constant", "subgraph", "function"])
def test_weights_hidden_deeper_are_checked_too(tmp_path: Path, place: str) -> None:
    """Catches a stranger's tensor in a node's attribute, in an If's branch or in a function: none is an initializer."""
    hidden = describe(numpy_helper.from_array(WEIGHT, "hidden"), location="../secret.bin", offset=0, length=32)
    constant = helper.make_node("Constant", [], ["c"], value=hidden)
    model = proto()
    if place == "constant":
        model.graph.node.insert(0, constant)
    elif place == "subgraph":
        branch = helper.make_graph([constant], "b", [], [helper.make_tensor_value_info("c", TensorProto.FLOAT, [4, 2])])
        flag = helper.make_node("Constant", [], ["flag"], value=numpy_helper.from_array(np.array(True)))
        model.graph.node.extend([flag, helper.make_node("If", ["flag"], ["z"], then_branch=branch, else_branch=branch)])
    else:
        model.functions.append(helper.make_function("own", "f", [], ["c"], [constant], [helper.make_opsetid("", 18)]))
    (tmp_path / "secret.bin").write_bytes(bytes(32))
    (tmp_path / "model").mkdir()
    path = tmp_path / "model/net.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(GraphError, match="outside"):
        load_graph(path)


def test_truncated_files_are_refused(tmp_path: Path) -> None:
    """Catches a half-copied file: wherever it ends, it is refused and never read as a smaller graph."""
    whole = proto().SerializeToString()
    path = tmp_path / "net.onnx"
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        with pytest.raises(GraphError, match=r"net\.onnx"):
            load_graph(path)


def test_missing_and_foreign_files_are_refused(tmp_path: Path) -> None:
    """Catches a traceback of protobuf for a file that is no ONNX; near names help."""
    (tmp_path / "right.onnx").write_bytes(b"PK\x03\x04 not a graph at all")
    with pytest.raises(GraphError, match=r"right\.onnx"):
        load_graph(tmp_path / "wrong.onnx")
    for path in (tmp_path / "right.onnx", tmp_path, tmp_path / "no/such/folder.onnx"):
        with pytest.raises(GraphError):
            load_graph(path)


def test_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a half-written graph where serialization fails, and temporary files left behind."""
    path = tmp_path / "net.onnx"
    model = ir.from_proto(proto())
    save_graph(model, path)
    before = sha256(path)

    def broken(_model: ir.Model, target: Path, **_options: Any) -> None:
        target.write_bytes(b"half")
        raise RuntimeError("disk on fire")

    monkeypatch.setattr(ir, "save", broken)
    with pytest.raises(RuntimeError, match="on fire"):
        save_graph(model, path)
    assert sha256(path) == before
    assert [file.name for file in tmp_path.iterdir()] == ["net.onnx"]


def interrupted(path: Path) -> None:
    with replacing(path) as draft:
        draft.write_text("half")
        raise KeyboardInterrupt


def test_replacing_moves_sidecars_and_cleans_up(tmp_path: Path) -> None:
    """Catches a sidecar left in the temporary folder, and an interrupt that leaves a draft."""
    with replacing(tmp_path / "a") as draft:
        draft.write_text("a")
        draft.with_name("a.data").write_text("data")
    with pytest.raises(KeyboardInterrupt):
        interrupted(tmp_path / "b")
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {"a": "a", "a.data": "data"}
    with pytest.raises(OutputError), replacing(tmp_path / "a/b"):
        pass


def test_same_graph_same_bytes(tmp_path: Path) -> None:
    """Catches a map or a date in the file: two runs must give the same bytes; and a loaded copy that differs."""
    save_graph(ir.from_proto(proto()), tmp_path / "one.onnx")
    save_graph(load_graph(tmp_path / "one.onnx"), tmp_path / "two.onnx")
    assert sha256(tmp_path / "one.onnx") == sha256(tmp_path / "two.onnx")
    assert serialize(ir.from_proto(proto())) == serialize(ir.from_proto(proto()))


def test_a_copy_is_a_graph_of_its_own() -> None:
    """Catches a pass that changes the graph it was given."""
    model = ir.from_proto(proto())
    copied = copy_graph(model)
    set_initializer(copied, "W", np.ones((4, 3), np.float32))
    untouched = initializer(model, model.graph.initializers["W"])
    assert untouched is not None
    assert untouched.tolist() == WEIGHT.tolist()
    assert (weight_bytes(model), weight_bytes(copied)) == (32, 48)


def test_a_weight_has_its_own_shape_whatever_is_noted_beside_it(tmp_path: Path) -> None:
    """Catches the costs of a graph that another tool has pruned, counted as before: onnxsim leaves the old notes."""
    model = proto()
    model.graph.value_info.append(helper.make_tensor_value_info("W", TensorProto.FLOAT, [4, 9]))
    onnx.save(model, tmp_path / "net.onnx")
    assert graph_cost(load_graph(tmp_path / "net.onnx")).parameters == WEIGHT.size


def test_inputs_and_batch_sizes() -> None:
    """Catches a stored default taken for an input, and a fixed batch fed with another."""
    model = proto(TEXT.replace("(float[N, 4] x)", "(float[N, 4] x, float[4, 2] W)"))
    specs = input_specs(ir.from_proto(model))
    assert specs == [InputSpec("x", np.dtype(np.float32), (None, 4))]
    assert batch_size(ir.from_proto(model)) == 64
    assert batch_size(ir.from_proto(proto(TEXT.replace("N, ", "1, ")))) == 1
    with pytest.raises(GraphError, match=r"exactly \{7\}"):
        batch_size(ir.from_proto(proto(TEXT.replace("N, ", "7, "))))
    with pytest.raises(GraphError, match="sample axis"):
        input_specs(ir.from_proto(onnx.parser.parse_model(TEXT.replace("[N, 4]", "").replace("W", "x"))))


def test_damaged_files_are_refused_or_read_but_never_break(classifier: Classifier, tmp_path: Path) -> None:
    """Catches an exception that is not told as a wrong request, for bytes that a bad disk or a stranger changed."""
    generator = np.random.default_rng(0)
    whole = np.frombuffer(classifier.net.read_bytes(), np.uint8)
    refused = 0
    for _ in range(150):
        damaged = whole.copy()
        damaged[generator.integers(0, 600, size=generator.integers(1, 6))] = generator.integers(0, 256)
        (tmp_path / "damaged.onnx").write_bytes(damaged.tobytes())
        try:
            serialize(load_graph(tmp_path / "damaged.onnx"))
        except GraphError:
            refused += 1
    assert refused > 50
