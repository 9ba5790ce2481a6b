"""Whatever is wrong with a network or its weights: one message that says what and how to mend it, and nothing written."""

import pickle
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from typer.testing import CliRunner

import foldpress
from conftest import Invoke
from foldpress.cli import app
from wrong_requests import NAN, Here, Prepare, Row, Trap, check_refused


def _object_weights(here: Here) -> list[object]:
    (here.folder / "weights.pt").write_bytes(pickle.dumps({"first.weight": Trap(here.folder / "sprung")}))
    return here.network("build", weights="weights.pt")


def _object_weights_of_torch(here: Here) -> list[object]:
    import torch

    torch.save({"first.weight": Trap(here.folder / "sprung")}, here.folder / "weights.pt")
    return here.network("build", weights="weights.pt")


def _shortened_weights(here: Here) -> list[object]:
    arguments = here.weights(lambda stored: None)
    path = here.folder / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    return arguments


def _external(here: Here, location: str, *, in_node: bool = False) -> list[object]:
    """A graph one of whose weights lies in a file outside its folder: it could read anything there is."""
    proto = onnx.load(here.net)
    (here.folder / "outside.bin").write_bytes(bytes(64 * 32 * 4))
    inner = here.folder / "inner"
    inner.mkdir()
    tensor = proto.graph.initializer[0]
    if in_node:
        proto.graph.node.insert(0, onnx.helper.make_node("Constant", [], ["unused"], value=tensor))
        tensor = proto.graph.node[0].attribute[0].t
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location.format(here.folder))
    (inner / "net.onnx").write_bytes(proto.SerializeToString())
    return here.run(model={"source": "inner/net.onnx"})


def _graph_giving_nan(here: Here) -> Path:
    proto = onnx.load(here.net)
    weights = numpy_helper.to_array(proto.graph.initializer[1]).copy()
    weights[3] = NAN
    proto.graph.initializer[1].CopyFrom(numpy_helper.from_array(weights, proto.graph.initializer[1].name))
    onnx.save(proto, here.folder / "nan.onnx")
    return here.folder / "nan.onnx"


def _quantized_twice(here: Here) -> list[object]:
    arguments = ["quantize", "--precision", "static", "-d", here.data, "-o"]
    assert CliRunner().invoke(app, [*map(str, arguments), str(here.folder / "int8.onnx"), str(here.net)]).exit_code == 0
    return [*arguments, here.folder / "out.onnx", here.folder / "int8.onnx"]


ROWS: list[Row] = [
    ("no such weights", lambda h: h.network("build", weights="w.safetensors"), ("no weights", "w.safetensors")),
    ("weights missing", lambda h: h.weights(lambda w: w.pop("last.bias")), ("do not fit", "missing last.bias")),
    ("weights unexpected", lambda h: h.weights(lambda w: w.update(extra=np.zeros(3, "f4"))), ("unexpected extra",)),
    ("weights of another shape", lambda h: h.weights(lambda w: w.update({"last.bias": np.zeros(9, np.float32)})),
     ("last.bias [9] (model: [10])", "trained")),
    ("weights shortened", _shortened_weights, ("weights.safetensors cannot be read", "available: .safetensors")),
    ("weights a pickle", _object_weights, ("weights.pt cannot be read", "nothing else is unpickled")),
    ("weights a pickle in torch's file", _object_weights_of_torch,
     ("weights.pt cannot be read", "nothing else is unpickled")),
    ("forward raises", lambda h: h.network("build_refusing"), ("network.py", "return self.last(x)", "RuntimeError")),
    ("build raises", lambda h: h.network("build_raising"), ("network.py", 'raise KeyError("no such setting")')),
    ("no module", lambda h: h.run(model={"source": "absent:build"}), ("no module 'absent'", "available:")),
    ("no callable", lambda h: h.network("bild"), ("'bild'", "Network", "build_raising")),
    ("no model", lambda h: h.run(model={"source": "net"}), ("'net'", "module:callable")),
    ("not a model", lambda h: h.network("build_text"), ("network:build_text gave a str", "torch.nn.Module")),
    ("weights for a graph", lambda h: h.run(model={"weights": "w.pt"}), ("model: weights go with module:callable",)),
    ("weights for a graph, export", lambda h: ["export", h.net, "-o", h.folder / "out.onnx", "-d", h.data,
                                               "-w", "w.pt"], ("weights go with module:callable", "--weights")),
    ("baseline giving NaN", lambda h: h.run(model={"source": _graph_giving_nan(h).name}),
     ("baseline gives nan", "sample at index", "weights")),
    ("baseline giving NaN, validate", lambda h: ["validate", *[_graph_giving_nan(h)] * 2, "-d", h.data,
                                                 "--max-drop", "1"], ("baseline gives nan", "sample at index 0")),
    ("quantized already", _quantized_twice, ("already quantized", "float graph")),
    ("no graph", lambda h: h.run(model={"source": "nut.onnx"}), ("nut.onnx", "available: net.onnx")),
    ("graph corrupt", lambda h: h.graph(b"\x0a\xff not an onnx file"), ("wrong.onnx", "export or download it again")),
    ("graph empty", lambda h: h.graph(b""), ("wrong.onnx", "empty or cut short", "download it again")),
    ("graph with a damaged name", lambda h: h.graph(h.net.read_bytes().replace(b"scores", b"sc\xff\xfe\xe0s")),
     ("wrong.onnx", "again")),
    ("graph truncated", lambda h: h.graph(h.net.read_bytes()[:4000]),
     ("wrong.onnx", "again")),
    ("external data above", lambda h: _external(h, "../outside.bin"), ("net.onnx", "outside", "../outside.bin")),
    ("external data absolute", lambda h: _external(h, "{}/outside.bin"), ("net.onnx", "outside")),
    ("external data of a node", lambda h: _external(h, "../outside.bin", in_node=True), ("net.onnx", "../outside.bin")),
]  # fmt: skip


@pytest.mark.parametrize(("prepare", "words"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_a_wrong_model_is_refused(prepare: Prepare, words: tuple[str, ...], here: Here, invoke: Invoke) -> None:
    """Catches a traceback, a message that does not help, a file left behind, code run from a stranger's file."""
    check_refused(prepare, words, here, invoke)


@pytest.mark.parametrize("source", ["build_refusing", "build_raising"])
def test_only_the_users_own_lines_are_shown(source: str, here: Here, invoke: Invoke) -> None:
    """Catches a user's error that is drowned in foldpress's own frames, or has lost its line."""
    result = invoke(*here.network(source), "-q")
    assert f'File "{here.folder / "network.py"}", line' in result.stderr
    assert str(Path(foldpress.__file__).parent) not in result.stderr
