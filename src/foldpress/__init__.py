"""Press a trained PyTorch model into a small, fast ONNX graph, and prove on held-out folds that it is still right."""

import importlib
import os
from typing import TYPE_CHECKING, Any

# onnxruntime reads this once, when it is first imported.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

if TYPE_CHECKING:
    from foldpress.data import Dataset
    from foldpress.errors import FoldpressError
    from foldpress.folds import Folds, make_folds
    from foldpress.machine import doctor
    from foldpress.pipeline import Report, run
    from foldpress.recipe import Recipe, load_recipe
    from foldpress.stages import bench, export, gate, inspect, prune, quantize, report, validate
    from foldpress.templates import init

__version__ = "0.1.0"
_HOMES = {
    "Dataset": "data",
    "FoldpressError": "errors",
    "Folds": "folds",
    "Recipe": "recipe",
    "Report": "pipeline",
    "bench": "stages",
    "doctor": "machine",
    "export": "stages",
    "gate": "stages",
    "init": "templates",
    "inspect": "stages",
    "load_recipe": "recipe",
    "make_folds": "folds",
    "prune": "stages",
    "quantize": "stages",
    "report": "stages",
    "run": "pipeline",
    "validate": "stages",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that `import foldpress` costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module 'foldpress' has no attribute {name!r}")
    return getattr(importlib.import_module(f"foldpress.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(_HOMES)
