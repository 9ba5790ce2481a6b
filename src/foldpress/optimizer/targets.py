"""Integer types by target: what is fast and exact on which hardware.

Measured on x86 with VNNI or AMX, U8 activations × S8 weights is the only pair with a fast kernel. Without VNNI the same
kernel saturates its 16-bit sums, which weights of 7 bits (reduce_range) avoid. ARM and TensorRT want signed, symmetric
activations.

The integer kernels of x86 multiply channels four at a time. A convolution over fewer (the first of a network: three colors,
one spectrogram) is no faster in integers, and the rounding of its input is felt by every layer behind it (docs/measurements.md).
"""

import platform
from dataclasses import dataclass

from foldpress.errors import RequestError
from foldpress.machine import processor

_VNNI_FLAGS = {"avx512_vnni", "avx_vnni", "avxvnni", "amx_int8"}


@dataclass(frozen=True)
class Target:
    """How to quantize for one kind of hardware. `why` is what the report says."""

    name: str
    signed_activations: bool
    symmetric_activations: bool
    reduce_range: bool
    float_channels: int  # a convolution over so many channels or fewer stays float
    why: str

    @property
    def on_cpu(self) -> bool:
        """Whether onnxruntime's own kernels run it, rather than a compiler with layouts of its own."""
        return self.name in ("x86-vnni", "x86", "arm")


TARGETS = {
    target.name: target
    for target in (
        Target(
            "x86-vnni",
            False,
            False,
            False,
            4,
            "U8 activations, S8 weights: the pair that VNNI and AMX multiply natively",
        ),
        Target(
            "x86",
            False,
            False,
            True,
            4,
            "U8 activations, 7-bit S8 weights: without VNNI, 16-bit sums saturate at 8 bits",
        ),
        Target(
            "arm", True, True, False, 0, "S8 activations and weights, symmetric: what the dot-product instructions take"
        ),
        Target(
            "tensorrt", True, True, False, 0, "S8 activations and weights with zero point 0: all that TensorRT accepts"
        ),
        Target(
            "qnn", False, False, False, 0, "U8 activations, S8 weights by channel: what the Hexagon processor takes"
        ),
    )
}


def choose_target(name: str, provider: str = "CPUExecutionProvider") -> Target:
    """The target of that name; `auto` is found from the provider and this machine's processor.

    Raises:
        RequestError: there is no such target.
    """
    if name == "auto":
        name = _detect(provider)
    if name not in TARGETS:
        raise RequestError(f"there is no target {name!r}", available=", ".join(["auto", *TARGETS]))
    return TARGETS[name]


def _detect(provider: str) -> str:
    by_provider = {"TensorrtExecutionProvider": "tensorrt", "QNNExecutionProvider": "qnn"}
    if provider in by_provider:
        return by_provider[provider]
    if platform.machine().lower() in ("aarch64", "arm64"):
        return "arm"
    return "x86-vnni" if _VNNI_FLAGS & set(cpu_flags()) else "x86"


def cpu_flags() -> list[str]:
    """Instruction-set flags of this processor."""
    return list(processor().get("flags", []))
