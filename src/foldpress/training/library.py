"""PyTorch-Ignite, which runs the loop: steps, events, early stopping, checkpoints, moving averages."""

import importlib
import warnings
from types import ModuleType

from foldpress.errors import MissingExtraError


def load_library() -> ModuleType:
    """The package `ignite` with its engine and handlers.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        with warnings.catch_warnings():  # it imports parts of PyTorch that PyTorch itself calls deprecated
            warnings.simplefilter("ignore", DeprecationWarning)
            for name in ("ignite.engine", "ignite.handlers"):
                importlib.import_module(name)
            return importlib.import_module("ignite")
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "ignite":
            raise
        raise MissingExtraError("pytorch-ignite", "training", "train") from error
