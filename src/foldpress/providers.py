"""onnxruntime's execution providers: which are here, which package has the others, and how each takes its options.

A provider is built into the installed onnxruntime, or comes as a plugin: a package of its own beside onnxruntime that
holds a library with the provider, and is registered before its first use.
"""

import difflib
import functools
import importlib
import importlib.util
from collections.abc import Mapping
from typing import Any

import onnxruntime as ort

from foldpress.errors import ProviderError

CPU = "CPUExecutionProvider"
OPENVINO = "OpenVINOExecutionProvider"

_PACKAGES = {
    "CUDAExecutionProvider": "onnxruntime-gpu instead of onnxruntime",
    "TensorrtExecutionProvider": "onnxruntime-gpu instead of onnxruntime, and TensorRT",
    "NvTensorRTRTXExecutionProvider": "onnxruntime-ep-nv-tensorrt-rtx, a plugin beside onnxruntime",
    OPENVINO: "onnxruntime-openvino instead of onnxruntime, or onnxruntime-ep-openvino, a plugin beside it",
    "DmlExecutionProvider": "onnxruntime-directml instead of onnxruntime, on Windows",
    "QNNExecutionProvider": "onnxruntime-qnn, a plugin beside onnxruntime",
    "WebGpuExecutionProvider": "onnxruntime-ep-webgpu, a plugin beside onnxruntime",
    "MIGraphXExecutionProvider": "onnxruntime-migraphx instead of onnxruntime",
    "CANNExecutionProvider": "onnxruntime-cann instead of onnxruntime",
    "CoreMLExecutionProvider": "onnxruntime on macOS",
    "XnnpackExecutionProvider": "onnxruntime for Android or iOS, or a build of it with --use_xnnpack",
}
# Plugins name their library by get_library_path().
_PLUGINS = {
    OPENVINO: "onnxruntime_ep_openvino",
    "QNNExecutionProvider": "onnxruntime_qnn",
    "WebGpuExecutionProvider": "onnxruntime_ep_webgpu",
    "NvTensorRTRTXExecutionProvider": "onnxruntime_ep_nv_tensorrt_rtx",
}
# Providers with threads of their own, which do not look at the session's.
_THREAD_OPTIONS = {OPENVINO: "num_of_threads", "XnnpackExecutionProvider": "intra_op_num_threads"}


def check_provider(provider: str, options: Mapping[str, str] | None = None) -> None:
    """Refuse a provider that cannot be had here, after trying its plugin.

    Raises:
        ProviderError: unknown; known but not installed, naming the package that has it; a plugin that finds no device; or
            options for the CPU, which takes none and would ignore them.
    """
    if provider == CPU and options:
        raise ProviderError(f"{CPU} takes no options; given: {', '.join(options)}")
    plugin = _register(provider)
    available = ", ".join(ort.get_available_providers())
    if provider in ort.get_available_providers():
        return
    if plugin:
        raise ProviderError(
            f"{provider} is installed as {_PLUGINS[provider]}, but finds no device that it supports on this machine",
            available=available,
        )
    if provider in {*ort.get_all_providers(), *_PACKAGES}:
        package = _PACKAGES.get(provider, "a build of onnxruntime made with it")
        raise ProviderError(
            f"{provider} is not in the installed onnxruntime", available=available, mend=f"install {package}"
        )
    folded = {name.lower(): name for name in ort.get_all_providers()}  # capitals are what one gets wrong first
    near = difflib.get_close_matches(provider.lower(), folded, 1)
    raise ProviderError(
        f"there is no provider {provider!r}",
        available=available,
        mend=f"did you mean {folded[near[0]]}?" if near else None,
    )


def add_provider(session_options: Any, provider: str, options: Mapping[str, str], threads: int) -> list[Any]:
    """What `providers=` of a session has to be for this provider; a plugin is entered in the session's options instead."""
    given = dict(options)
    if not _register(provider):
        if threads and provider in _THREAD_OPTIONS:
            given.setdefault(_THREAD_OPTIONS[provider], str(threads))
        return [(provider, given)]
    wanted = given.pop("device_type", None)  # which of a plugin's devices; onnxruntime chooses it, not the provider
    devices = _devices(provider)
    chosen = [device for device in devices if wanted in (None, device.device.type.name)]
    if not chosen:
        found = ", ".join(device.device.type.name for device in devices)
        raise ProviderError(f"{provider} has no device of type {wanted}", available=found)
    session_options.add_provider_for_devices(chosen[:1], given)
    return []


def available_providers() -> list[str]:
    """Every provider that can be asked for here, plugins included."""
    for plugin in _PLUGINS:
        _register(plugin)
    return list(ort.get_available_providers())


def absent_providers() -> dict[str, str]:
    """The other providers that are known, with what has to be installed for each."""
    available = available_providers()
    idle = {name: f"{_PLUGINS[name]} is installed, but finds no device here" for name in _PLUGINS if _register(name)}
    return {name: idle.get(name, package) for name, package in _PACKAGES.items() if name not in available}


@functools.cache  # a library can be registered once
def _register(provider: str) -> bool:
    """Whether the provider is a plugin that is installed, and now registered."""
    module = _PLUGINS.get(provider)
    if provider in ort.get_available_providers() or module is None or not importlib.util.find_spec(module):
        return False
    ort.register_execution_provider_library(provider, importlib.import_module(module).get_library_path())
    return True


def _devices(provider: str) -> list[Any]:
    return [device for device in ort.get_ep_devices() if device.ep_name == provider]
