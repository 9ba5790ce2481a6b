"""Whatever is wrong with a request: exit code 2, one message that says what and how to mend it, and nothing written.

And what is not the request's fault: too little evidence (3), a run that was killed, interrupted, or broke (4).
"""

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import numpy_helper
from typer.testing import CliRunner, Result

import foldpress
from conftest import Arrays, Classifier, Invoke, WriteRecipe
from foldpress.cli import app
from foldpress.console import command

NAN = float("nan")
NETWORK = """
import torch

class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first = torch.nn.Linear(64, 8)
        self.last = torch.nn.Linear(8, 10)

    def forward(self, x):
        return self.last(torch.relu(self.first(x)))

class Refusing(Network):
    def forward(self, x):
        return self.last(x)  # eight wanted, 64 given

def build():
    return Network()

def build_refusing():
    return Refusing()

def build_text():
    return "network"

def build_raising():
    raise KeyError("no such setting")
"""


@dataclass
class Here:
    """Where one row of the table is prepared: a folder with the tiny classifier, its data and a recipe."""

    folder: Path
    write_recipe: WriteRecipe
    arrays: Arrays

    @property
    def net(self) -> Path:
        """The tiny classifier."""
        return self.folder / "net.onnx"

    @property
    def data(self) -> Path:
        """Its held-out samples."""
        return self.folder / "data.npz"

    def run(self, **tables: dict[str, Any] | None) -> list[object]:
        """The command that runs a recipe with these settings."""
        return ["run", self.write_recipe(**tables), "-o", self.folder / "out"]

    def run_on(self, **arrays: Any) -> list[object]:
        """The command that runs the recipe on data with some arrays replaced, or left out (None)."""
        return [*self.run(), "--set", f"data.source={self.save(**arrays).name}"]

    def save(self, **arrays: Any) -> Path:
        """A data file with some arrays replaced, or left out (None)."""
        path = self.folder / "wrong.npz"
        np.savez(path, **{name: array for name, array in (self.arrays | arrays).items() if array is not None})
        return path

    def network(self, source: str, **model: Any) -> list[object]:
        """The command that runs a recipe around a PyTorch network."""
        (self.folder / "network.py").write_text(NETWORK, encoding="utf-8")
        return self.run(model={"source": f"network:{source}", **model})

    def weights(self, change: Callable[[dict[str, Any]], None]) -> list[object]:
        """The command that runs a recipe whose weights were changed."""
        from safetensors.numpy import save_file

        shapes = {"first.weight": (8, 64), "first.bias": (8,), "last.weight": (10, 8), "last.bias": (10,)}
        stored: dict[str, Any] = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
        change(stored)
        save_file(stored, self.folder / "weights.safetensors")
        return self.network("build", weights="weights.safetensors")

    def graph(self, content: bytes) -> list[object]:
        """The command that runs a recipe on an .onnx file with this content."""
        (self.folder / "wrong.onnx").write_bytes(content)
        return self.run(model={"source": "wrong.onnx"})

    def at(self, index: tuple[int, ...], value: Any, name: str = "x") -> Any:
        """An array with one value replaced."""
        array = self.arrays[name].copy()
        array[index] = value
        return array


class Trap:
    """Whoever unpickles this makes the folder `sprung`."""

    def __init__(self, sprung: Path) -> None:
        self.sprung = sprung

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.sprung),)


def test_the_trap_springs(tmp_path: Path) -> None:
    """Catches a trap that would catch nothing."""
    pickle.loads(pickle.dumps(Trap(tmp_path / "sprung")))
    assert (tmp_path / "sprung").exists()


@pytest.fixture
def here(tmp_path: Path, recipe: WriteRecipe, classifier: Classifier) -> Here:
    """A folder to prepare a wrong request in."""
    recipe()
    return Here(tmp_path, recipe, classifier.held_out)


def _pickle_for_data(here: Here) -> list[object]:
    arguments = here.run_on()
    (here.folder / "wrong.npz").write_bytes(pickle.dumps(Trap(here.folder / "sprung")))
    return arguments


def _object_array(here: Here) -> list[object]:
    return here.run_on(note=np.array([Trap(here.folder / "sprung")], dtype=object))


def _object_array_in_a_folder(here: Here) -> list[object]:
    (here.folder / "arrays").mkdir()
    np.save(here.folder / "arrays/x.npy", np.array([Trap(here.folder / "sprung")], dtype=object))
    return here.run(data={"source": "arrays"})


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


def _too_few_of_a_class(here: Here) -> list[object]:
    kept = np.flatnonzero((here.arrays["y"] != 7) | (np.cumsum(here.arrays["y"] == 7) <= 2))
    return here.run_on(**{name: array[kept] for name, array in here.arrays.items()})


def _label_too_large(row: int) -> Callable[[Here], list[object]]:
    return lambda h: [*h.run_on(y=h.at((row,), 10, "y")), "--set", "folds.scheme=kfold"]


def _in_train_and_data(here: Here) -> list[object]:
    arguments = here.run(data={"train": "seen.npz"})
    np.savez(here.folder / "seen.npz", x=here.arrays["x"][[5, 900]], y=here.arrays["y"][[5, 900]])
    return arguments


def _in_fold_and_test(here: Here) -> list[object]:
    again = {name: np.concatenate([array, array[:20]]) for name, array in here.arrays.items()}
    return here.run_on(**again)


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
    arguments = ["quantize", "-d", here.data, "-o"]
    assert CliRunner().invoke(app, [*map(str, arguments), str(here.folder / "int8.onnx"), str(here.net)]).exit_code == 0
    return [*arguments, here.folder / "out.onnx", here.folder / "int8.onnx"]


Row = tuple[str, Callable[[Here], list[object]], tuple[str, ...]]
ROWS: list[Row] = [
    ("missing recipe", lambda h: ["run", h.folder / "recipy.toml", "-o", h.folder / "out"],
     ("there is no recipe", "recipy.toml", "available: recipe.toml", "foldpress init")),
    ("recipe no TOML", lambda h: ["run", h.save(), "-o", h.folder / "out"], ("wrong.npz is not TOML",)),
    ("missing data", lambda h: h.run(data={"source": "absent.npz"}), ("absent.npz", "data.npz", "module:callable")),
    ("data no npz", lambda h: h.run(data={"source": "net.onnx"}), ("net.onnx", "np.savez")),
    ("data a pickle", _pickle_for_data, ("wrong.npz is not an .npz", "np.savez")),
    ("object array", _object_array, ("wrong.npz", "array note", "never unpickled", "np.stack")),
    ("object array in a folder", _object_array_in_a_folder, ("x.npy", "array x", "never unpickled", "np.stack")),
    ("no targets", lambda h: h.run_on(y=None), ("no targets", "`y`")),
    ("NaN", lambda h: h.run_on(x=h.at((17, 5), NAN)), ("array x holds nan at index [17, 5]", "repair that sample")),
    ("infinity", lambda h: h.run_on(x=h.at((1050, 63), np.inf)), ("array x holds inf at index [1050, 63]",)),
    ("infinity, one command", lambda h: ["quantize", h.net, "-o", h.folder / "out.onnx",
                                         "--data", h.save(x=h.at((2, 0), -np.inf))],
     ("array x holds -inf at index [2, 0]",)),
    ("unequal lengths", lambda h: h.run_on(y=h.arrays["y"][:-1]), ("unequal length", "x: 1100", "y: 1099")),
    ("wrong name", lambda h: h.run_on(mask=h.arrays["x"]), ("['mask']", "x: float32 [N, 64]")),
    ("wrong names", lambda h: h.run_on(x=None, a=h.arrays["x"], b=h.arrays["x"]), ("missing: ['x']", "['a', 'b']")),
    ("wrong shape", lambda h: h.run_on(x=h.arrays["x"][:, :63]), ("array x", "[1100, 63]", "x: float32 [N, 64]")),
    ("wrong type", lambda h: h.run_on(x=h.arrays["x"].astype(float)), ("array x is float64", ".astype('float32')")),
    ("text", lambda h: h.run_on(x=h.arrays["x"].astype(str)), ("array x", "numbers are expected")),
    ("label too large", _label_too_large(3), ("10 at index 3", "0 … 9")),
    ("label too large, in the test split", _label_too_large(1), ("10 at index 1", "0 … 9")),
    ("label negative", lambda h: h.run_on(y=h.at((8,), -1, "y")), ("-1 at index 8", "0 … 9")),
    ("label a fraction", lambda h: h.run_on(y=h.arrays["y"] + 0.5), ("y is float64", "integers", '"regression"')),
    ("fewer samples than folds", lambda h: h.run_on(**{k: v[:2] for k, v in h.arrays.items()}),
     ("2 samples", "3 folds", "splits")),
    ("a class too rare", _too_few_of_a_class, ("7 (2)", "3 folds", "scheme = 'kfold'")),
    ("unknown key", lambda h: h.run(gate={"max_dropp": 0.1}), ("gate.max_dropp: unknown", "did you mean max_drop?")),
    ("unknown table", lambda h: h.run(quantise={}), ("quantise: unknown key", "did you mean quantize?")),
    ("unknown key, by --set", lambda h: [*h.run(), "--set", "folds.split=4"], ("folds.split", "did you mean splits?")),
    ("--set without value", lambda h: [*h.run(), "--set", "gate.max_drop"], ("gate.max_drop", "KEY=VALUE")),
    ("missing key", lambda h: h.run(model={"source": None}), ("model.source", "required")),
    ("negative limit", lambda h: h.run(gate={"max_drop": -0.1}), ("gate.max_drop", "than or equal to 0", "-0.1")),
    ("NaN limit", lambda h: h.run(gate={"max_flips": NAN}), ("gate.max_flips", "finite")),
    ("limit no number", lambda h: h.run(gate={"max_drop": True}), ("gate.max_drop", "valid number")),
    ("limit no size", lambda h: h.run(gate={"max_bytes": "5 ells"}), ("gate.max_bytes", "5 ells", "kb")),
    ("no limit", lambda h: h.run(gate={"max_drop": None}), ("no limit is set", "max_drop", "max_flips")),
    ("no limit, validate", lambda h: ["validate", *[h.net] * 2, "-d", h.save()],
     ("no limit is set", "max_drop")),
    ("negative limit, validate", lambda h: ["validate", *[h.net] * 2, "-d", h.save(),
                                            "--max-drop", "-0.1"], ("max_drop", "-0.1", "zero or more")),
    ("NaN limit, validate", lambda h: ["validate", *[h.net] * 2, "-d", h.save(),
                                       "--max-drop", "nan"], ("max_drop", "nan", "zero or more")),
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
    ("unknown provider", lambda h: h.run(benchmark={"providers": ["CudaExecutionProvider"]}),
     ("CudaExecutionProvider", "available:", "CPUExecutionProvider", "did you mean CUDAExecutionProvider?")),
    ("absent provider", lambda h: h.run(benchmark={"providers": ["CUDAExecutionProvider"]}),
     ("CUDAExecutionProvider", "available:", "install onnxruntime-gpu")),
    ("absent provider, bench", lambda h: ["bench", h.net, "-p", "OpenVINOExecutionProvider"],
     ("OpenVINOExecutionProvider", "install onnxruntime-openvino")),
    ("weights for a graph", lambda h: h.run(model={"weights": "w.pt"}), ("model: weights go with module:callable",)),
    ("weights for a graph, export", lambda h: ["export", h.net, "-o", h.folder / "out.onnx", "-d", h.data,
                                               "-w", "w.pt"], ("weights go with module:callable", "--weights")),
    ("no budget", lambda h: ["prune", h.net, "-o", h.folder / "out.onnx", "-d", h.save()],
     ("exactly one of macs, parameters",)),
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
    ("output below a file", lambda h: [*h.run()[:2], "-o", h.save() / "out"], ("cannot write", "wrong.npz", "-o")),
    ("output file below a file", lambda h: ["quantize", h.net, "-d", h.save(), "-o",
                                            h.save() / "out.onnx"], ("cannot write", "wrong.npz", "-o")),
    ("in train and data", _in_train_and_data,
     ("2 samples", "train sample 0 = data sample 5", "train sample 1 = data sample 900")),
    ("in a fold and in test", _in_fold_and_test, ("two sides of a split", "test sample", "remove the duplicates")),
]  # fmt: skip


@pytest.mark.parametrize(("prepare", "words"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_a_wrong_request_is_refused(
    prepare: Callable[[Here], list[object]], words: tuple[str, ...], here: Here, invoke: Invoke
) -> None:
    """Catches a traceback, a message that does not help, a file left behind, code run from a stranger's file."""
    arguments = prepare(here)
    before = _files(here.folder)
    result = invoke(*arguments, "-q")
    _refused(result, words)
    written = _files(here.folder) - before
    assert not written & {"manifest.json", "report.json", "pruned.onnx", "quantized.onnx", "out.onnx"}
    assert not [name for name in written if name.startswith(".")], "a temporary file is left"
    assert not (here.folder / "sprung").exists(), "something was unpickled"


@pytest.mark.parametrize("source", ["build_refusing", "build_raising"])
def test_only_the_users_own_lines_are_shown(source: str, here: Here, invoke: Invoke) -> None:
    """Catches a user's error that is drowned in foldpress's own frames, or has lost its line."""
    result = invoke(*here.network(source), "-q")
    assert f'File "{here.folder / "network.py"}", line' in result.stderr
    assert str(Path(foldpress.__file__).parent) not in result.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_refused(here: Here, invoke: Invoke) -> None:
    """Catches a run that finds out only at its end that it cannot write."""
    arguments = here.run()
    (here.folder / "out").mkdir(mode=0o500)
    _refused(invoke(*arguments, "-q"), ("cannot write", "permissions"))


def test_too_few_samples_are_inconclusive(here: Here, invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a gate that takes the absence of a difference among a few samples for a proof."""
    monkeypatch.setattr("foldpress.pipeline.measure", lambda *_: [])
    few = {name: array[:120] for name, array in here.arrays.items()}
    result = invoke(*here.run_on(**few), "--set", "gate.max_drop=0.001", "--json")
    assert result.exit_code == 3
    report = json.loads(result.stdout)
    assert report["verdict"] == "INCONCLUSIVE"
    assert "samples would settle it" in report["checks"][0]["why"]
    assert (here.folder / "out/manifest.json").is_file()


def test_a_killed_run_never_passes(here: Here, invoke: Invoke) -> None:
    """Catches evidence of half a run that is judged as if it were whole."""
    with _slow_run(here) as process:
        os.killpg(process.pid, signal.SIGKILL)
    assert not (here.folder / "out/manifest.json").exists()
    result = invoke("gate", here.folder / "out", "--json")
    assert result.exit_code == 3
    assert "did not finish" in json.loads(result.stdout)["checks"][0]["why"]


def test_an_interrupted_run_leaves_no_half_file(here: Here) -> None:
    """Catches Ctrl-C that exits with 0, shows a traceback, or leaves what looks like a result."""
    with _slow_run(here) as process:
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "interrupted" in said
    assert "Traceback" not in said
    left = _files(here.folder / "out")
    assert "manifest.json" not in left
    assert not [name for name in left if name.startswith(".")]


def test_an_interrupted_write_keeps_the_old_file(here: Here, invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches an output that is written in place: Ctrl-C in the middle would destroy what was there."""

    def half(_: ir.Model, path: Path, **__: object) -> NoReturn:
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    output = here.folder / "out.onnx"
    output.write_bytes(b"the old one")
    before = _files(here.folder)
    monkeypatch.setattr(ir, "save", half)
    result = invoke("quantize", here.net, "-o", output, "-d", here.data)
    assert result.exit_code == 130
    assert output.read_bytes() == b"the old one"
    assert _files(here.folder) == before


@pytest.mark.parametrize("verbose", [False, True])
def test_a_broken_stage_exits_with_4(
    verbose: bool, here: Here, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a bug that looks like a verdict, and a traceback that is shown unasked or lost."""

    def broken(*_: object) -> NoReturn:
        raise ValueError("the stage is broken")

    monkeypatch.setattr("foldpress.pipeline.measure", broken)
    result = invoke(*here.run(), *(["-v"] if verbose else []))
    assert result.exit_code == 4
    assert "foldpress: foldpress broke: ValueError: the stage is broken" in result.stderr
    assert ("Traceback" in result.stderr) == verbose
    log = (here.folder / "out/run.log").read_text(encoding="utf-8")
    assert "Traceback" in log
    assert "ValueError: the stage is broken" in log
    assert not (here.folder / "out/manifest.json").exists()


def test_termination_is_an_interruption() -> None:
    """Catches a build system's SIGTERM that ends the process without cleaning up, or with exit code 0."""

    def terminated() -> None:
        with command(as_json=False, quiet=True, verbose=False):
            os.kill(os.getpid(), signal.SIGTERM)

    assert _exit_code(terminated) == 130


def test_an_interruption_stays_one_when_a_library_makes_it_an_error() -> None:
    """Catches exit code 4 after Ctrl-C: it came while a library turned every exception into one of its own."""

    def translated() -> None:
        with command(as_json=False, quiet=True, verbose=False):
            try:
                os.kill(os.getpid(), signal.SIGINT)
            except KeyboardInterrupt as stopped:
                raise RuntimeError("the library's own error") from stopped

    assert _exit_code(translated) == 130


def _exit_code(run: Callable[[], None]) -> object:
    before = {kind: signal.getsignal(kind) for kind in (signal.SIGTERM, signal.SIGINT)}
    try:
        with pytest.raises(SystemExit) as ended:
            run()
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
    return ended.value.code


@contextmanager
def _slow_run(here: Here) -> Iterator["subprocess.Popen[str]"]:
    """A run in a process of its own, held in its last stage. Afterwards it is killed, with its children."""
    arguments = [str(argument) for argument in here.run(benchmark={"seconds": 100})]
    process = subprocess.Popen([sys.executable, "-m", "foldpress", *arguments], start_new_session=True,
                               stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)  # fmt: skip
    deadline = time.monotonic() + 30
    try:
        while not (here.folder / "out/evidence/test.npz").is_file():
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def _refused(result: Result, words: tuple[str, ...]) -> None:
    assert result.exit_code == 2, result.stderr
    assert result.stdout == ""
    assert result.stderr.startswith("foldpress: ")
    assert result.stderr.count("foldpress: ") == 1
    assert "Traceback" not in result.stderr
    assert not [word for word in words if word not in result.stderr], result.stderr


def _files(folder: Path) -> set[str]:
    """Names of all files, hidden ones too."""
    return {path.name for path in folder.rglob("*") if path.suffix != ".pyc"}
