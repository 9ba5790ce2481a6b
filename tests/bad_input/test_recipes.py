"""Whatever is wrong with a recipe or an option: one message that says what and how to mend it, and nothing written."""

import os
from pathlib import Path

import pytest

from conftest import Invoke
from wrong_requests import NAN, Here, Prepare, Row, check_refused, refused

ROWS: list[Row] = [
    ("missing recipe", lambda h: ["run", h.folder / "recipy.toml", "-o", h.folder / "out"],
     ("there is no recipe", "recipy.toml", "available: recipe.toml", "foldpress init")),
    ("recipe no TOML", lambda h: ["run", h.save(), "-o", h.folder / "out"], ("wrong.npz is not TOML",)),
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
    ("no budget", lambda h: ["prune", h.net, "-o", h.folder / "out.onnx", "-d", h.save()],
     ("exactly one of macs, parameters",)),
    ("layer there is not", lambda h: [*h.run(prune={"method": "unstructured", "sparsity": 0.5}), "--set", "prune.layers.conv9=0.1"],
     ("conv9", "no layer has that name", "first, last", "foldpress inspect")),
    ("--layer without value", lambda h: ["prune", h.net, "-o", h.folder / "out.onnx", "-d", h.save(), "--method", "unstructured",
                                         "--sparsity", "0.5", "--layer", "first"], ("--layer 'first'", "KEY=VALUE")),
    ("unknown provider", lambda h: h.run(benchmark={"providers": ["CudaExecutionProvider"]}),
     ("CudaExecutionProvider", "available:", "CPUExecutionProvider", "did you mean CUDAExecutionProvider?")),
    ("absent provider", lambda h: h.run(benchmark={"providers": ["CUDAExecutionProvider"]}),
     ("CUDAExecutionProvider", "available:", "install onnxruntime-gpu")),
    ("absent provider, bench", lambda h: ["bench", h.net, "-p", "OpenVINOExecutionProvider"],
     ("OpenVINOExecutionProvider", "install onnxruntime-openvino")),
    ("output below a file", lambda h: [*h.run()[:2], "-o", h.save() / "out"], ("cannot write", "wrong.npz", "-o")),
    ("output file below a file", lambda h: ["quantize", h.net, "-d", h.save(), "-o",
                                            h.save() / "out.onnx"], ("cannot write", "wrong.npz", "-o")),
]  # fmt: skip


@pytest.mark.parametrize(("prepare", "words"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_a_wrong_recipe_is_refused(prepare: Prepare, words: tuple[str, ...], here: Here, invoke: Invoke) -> None:
    """Catches a traceback, a message that does not help, a file left behind."""
    check_refused(prepare, words, here, invoke)


def test_a_folder_that_cannot_be_written_to_is_refused(here: Here, invoke: Invoke) -> None:
    """Catches a run that finds out only at its end that it cannot write."""
    arguments = here.run()[:2]
    folder = here.folder / "out" if os.geteuid() else Path("/sys")  # where root may not write either
    if not folder.exists():
        folder.mkdir(mode=0o500)
    refused(invoke(*arguments, "-o", folder, "-q"), ("cannot write", "permissions"))
    assert not (folder / "journal.json").exists()
