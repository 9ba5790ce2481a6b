"""The public names, what importing them costs, and that nothing is ever sent."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import foldpress

NAMES = ["Dataset", "FoldpressError", "Folds", "Recipe", "Report", "bench", "collect_statistics", "distill", "doctor", "explain", "export", "factorize",
         "gate", "init", "inspect", "load_recipe", "load_statistics", "make_folds", "pack", "prune", "quantize", "report", "run", "share",
         "unpack", "validate"]  # fmt: skip


def python(script: str, **environment: str) -> str:
    """What a fresh interpreter prints; it does not have ORT_DISABLE_TELEMETRY unless it is given here."""
    inherited = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    source = str(Path(foldpress.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True,
        env={**inherited, "PYTHONPATH": source, **environment},
    )  # fmt: skip
    return done.stdout.strip()


def test_public_names() -> None:
    """Catches a name that was dropped or renamed, and one that became public by accident."""
    assert sorted(dir(foldpress)) == NAMES
    for name in NAMES:
        assert callable(getattr(foldpress, name))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = foldpress.nothing


def test_import_is_cheap() -> None:
    """Catches a module-level import of torch, onnxruntime or scikit-learn: `foldpress --help` must answer at once."""
    heavy = "{'torch', 'onnxruntime', 'sklearn', 'scipy', 'onnx', 'matplotlib', 'pydantic', 'optuna', 'dask'}"
    assert python(f"import sys, foldpress.cli; print(sorted({heavy} & set(sys.modules)))") == "[]"


def test_judging_needs_no_torch() -> None:
    """Catches torch imported where a graph is only timed or judged."""
    script = "import sys; from foldpress import bench, gate, report, validate, inspect; print('torch' in sys.modules)"
    assert python(script) == "False"


@pytest.mark.parametrize("given", [{}, {"ORT_DISABLE_TELEMETRY": "0"}])
def test_telemetry_is_off_before_onnxruntime_is_imported(given: dict[str, str]) -> None:
    """Catches an onnxruntime that was imported first: it reads the variable once."""
    script = """
import builtins, os
real = builtins.__import__
def watched(name, *rest):
    if name.partition(".")[0] == "onnxruntime":
        assert os.environ.get("ORT_DISABLE_TELEMETRY") == "1", name
        watched.seen = True
    return real(name, *rest)
watched.seen = False
builtins.__import__ = watched
import foldpress
assert not watched.seen
from foldpress import bench
print(watched.seen, os.environ["ORT_DISABLE_TELEMETRY"])
"""
    assert python(script, **given) == "True 1"


def test_worker_turns_telemetry_off_by_itself() -> None:
    """Catches a latency worker that imports onnxruntime before foldpress has set the variable."""
    script = """
import os, sys
import foldpress.benchmark.worker
print("onnxruntime" in sys.modules, os.environ["ORT_DISABLE_TELEMETRY"])
"""
    assert python(script) == "True 1"
