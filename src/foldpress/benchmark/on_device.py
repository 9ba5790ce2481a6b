"""A session whose inputs and outputs stay on the device: the network alone is timed, without copies from and to the host.

onnxruntime calls it I/O binding. Inputs are copied to the device before the clock starts, outputs are allocated there by the
run itself, and a run ends when the device has finished. A pipeline that keeps its tensors on the device sees this latency;
whoever hands over arrays and wants arrays back sees the other.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import onnxruntime as ort

# Where tensors of a provider's device lie, by onnxruntime's names.
DEVICES = {
    "CUDAExecutionProvider": "cuda",
    "TensorrtExecutionProvider": "cuda",
    "ROCMExecutionProvider": "cuda",  # onnxruntime's builds for ROCm call the device so too
    "DmlExecutionProvider": "dml",
}

Feed = Mapping[str, Any]


class OnDevice:
    """Runs a session on feeds that lie on its device already; takes the session's place where runs are timed."""

    def __init__(self, session: Any, feeds: Sequence[Feed], device: str, device_id: int = 0) -> None:
        self._session, self._feeds = session, feeds  # a feed goes by its identity, so it has to live
        self._bindings = {id(feed): _bind(session, feed, device, device_id) for feed in feeds}

    def run(self, names: None, feed: Feed) -> list[Any]:  # noqa: ARG002  # all outputs, as sessions have it
        """One run on a feed that was given, until the device has finished; its outputs, where they lie."""
        binding = self._bindings[id(feed)]
        self._session.run_with_iobinding(binding)
        binding.synchronize_outputs()
        return list(binding.get_outputs())


def _bind(session: Any, feed: Feed, device: str, device_id: int) -> Any:
    binding = session.io_binding()
    for name, array in feed.items():
        binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(array, device, device_id))
    for output in session.get_outputs():
        binding.bind_output(output.name, device, device_id)
    binding.synchronize_inputs()
    return binding
