"""Press a trained PyTorch model into a small, fast ONNX graph, and prove on held-out folds that it is still right."""

import importlib
import os
from typing import TYPE_CHECKING, Any

# onnxruntime reads this once, when it is first imported.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

if TYPE_CHECKING:  # `as` tells type checkers that these are public
    from foldpress.calibration import collect_statistics as collect_statistics
    from foldpress.checkup import doctor as doctor
    from foldpress.data import Dataset as Dataset
    from foldpress.errors import FoldpressError as FoldpressError
    from foldpress.folds import Folds as Folds
    from foldpress.folds import make_folds as make_folds
    from foldpress.optimizer.saved_statistics import load_statistics as load_statistics
    from foldpress.pipeline import Report as Report
    from foldpress.pipeline import run as run
    from foldpress.recipe import Recipe as Recipe
    from foldpress.recipe import load_recipe as load_recipe
    from foldpress.saved import gate as gate
    from foldpress.saved import report as report
    from foldpress.stages.distill import distill as distill
    from foldpress.stages.export import export as export
    from foldpress.stages.factorize import factorize as factorize
    from foldpress.stages.inspect import inspect as inspect
    from foldpress.stages.prune import prune as prune
    from foldpress.stages.quantize import quantize as quantize
    from foldpress.stages.share import share as share
    from foldpress.stages.validate import validate as validate
    from foldpress.storage.pack import pack as pack
    from foldpress.storage.unpack import unpack as unpack
    from foldpress.templates import init as init
    from foldpress.timing import bench as bench
    from foldpress.timing import explain as explain

__version__ = "0.1.0"
_HOMES = {
    "Dataset": "data",
    "FoldpressError": "errors",
    "Folds": "folds",
    "Recipe": "recipe",
    "Report": "pipeline",
    "bench": "timing",
    "explain": "timing",
    "collect_statistics": "calibration",
    "distill": "stages.distill",
    "doctor": "checkup",
    "export": "stages.export",
    "factorize": "stages.factorize",
    "gate": "saved",
    "init": "templates",
    "inspect": "stages.inspect",
    "load_recipe": "recipe",
    "load_statistics": "optimizer.saved_statistics",
    "make_folds": "folds",
    "pack": "storage.pack",
    "prune": "stages.prune",
    "quantize": "stages.quantize",
    "report": "saved",
    "run": "pipeline",
    "share": "stages.share",
    "unpack": "storage.unpack",
    "validate": "stages.validate",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that `import foldpress` costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module 'foldpress' has no attribute {name!r}")
    return getattr(importlib.import_module(f"foldpress.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(_HOMES)
