"""The machine, as every report records it: processor, memory, versions."""

import functools
import importlib.metadata
import os
import platform
from typing import Any

_PACKAGES = ("foldpress", "torch", "onnx", "onnx-ir", "onnxscript", "onnxruntime", "numpy", "scikit-learn", "scipy")
_RUNTIMES = (  # they take onnxruntime's place, or stand beside it
    "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml", "onnxruntime-ep-openvino", "onnxruntime-qnn",
)  # fmt: skip
_INT8_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm")


def environment() -> dict[str, Any]:
    """Versions and machine, as every report records them."""
    import psutil

    found = processor()
    return {
        "processor": found.get("brand_raw", platform.processor() or "unknown"),
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "instruction_sets": [flag for flag in _INT8_FLAGS if flag in found.get("flags", [])],
        "platform": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: installed for name in (*_PACKAGES, *_RUNTIMES) if (installed := version(name))},
    }


@functools.cache
def processor() -> dict[str, Any]:
    """The processor's name and flags; asked once, because the answer takes a second."""
    from cpuinfo import get_cpu_info

    return dict(get_cpu_info())


def version(package: str) -> str | None:
    """The installed version of a package, or None."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
