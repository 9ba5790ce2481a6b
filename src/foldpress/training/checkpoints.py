"""The state of a training after its last epoch, in one file that is whole or not there."""

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from foldpress.files import replacing
from foldpress.training.library import load_library

_KEY = "key"


@dataclass(frozen=True)
class Checkpoint:
    """A file, and what it belongs to.

    Args:
        path: written after every epoch.
        key: changes with model, data and settings; a state under another key is not taken up.
        resume: whether a state that is there is taken up.
    """

    path: Path
    key: str
    resume: bool = True

    def save(self, objects: Mapping[str, Any]) -> None:
        """Write the states of objects that have a `state_dict`, atomically."""
        with replacing(self.path) as draft:
            torch.save({_KEY: self.key, **{name: one.state_dict() for name, one in objects.items()}}, draft)

    def load(self, objects: Mapping[str, Any]) -> bool:
        """Put the states back, if there are any of this key; whether there were."""
        if not self.resume or not self.path.is_file():
            return False
        try:
            state = torch.load(self.path, map_location="cpu", weights_only=True)
        except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError):
            return False  # damaged: training begins anew
        if not isinstance(state, dict) or state.pop(_KEY, None) != self.key or set(state) != set(objects):
            return False
        load_library().handlers.Checkpoint.load_objects(dict(objects), state)
        return True

    def remove(self) -> None:
        """The training is over, and its product is written."""
        self.path.unlink(missing_ok=True)
