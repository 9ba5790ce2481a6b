"""Unstructured pruning: single weights become zero, by a threshold on their magnitude, or two of every four.

Nothing gets smaller or faster by it but a compressed file: onnxruntime has no kernel that skips zeros.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from foldpress.graph import initializer, set_initializer
from foldpress.optimizer.passes import LogEntry, PassResult

_WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_BLOCK, _KEPT = 4, 2
_NO_GAIN = "zeros shrink a compressed file only; no onnxruntime kernel skips them"

Weight = NDArray[Any]


@dataclass(frozen=True)
class PruneThreshold:
    """Set weights to zero whose magnitude is at most `threshold`, or the smallest share `sparsity` of all of them.

    With `sparsity`, one threshold is found for all layers together (global magnitude pruning, Han et al. 2015).
    """

    sparsity: float | None = None
    threshold: float | None = None
    name: str = "prune-threshold"

    def __call__(self, model: ir.Model) -> PassResult:
        """Zero the weights; the log has the share of zeros in every layer."""
        weights = dict(_weights(model))
        threshold = self.threshold if self.threshold is not None else _quantile(weights, self.sparsity or 0.0)
        log = []
        for value, weight in weights.items():
            masked = np.where(np.abs(weight) <= threshold, weight.dtype.type(0), weight)
            log.append(_store(model, self.name, value, masked, f"threshold {threshold:.3g}"))
        return PassResult(model, tuple(log))


@dataclass(frozen=True)
class PruneTwoFour:
    """Keep the two largest of every four consecutive weights that are summed over (2:4, Mishra et al. 2021)."""

    name: str = "prune-2:4"

    def __call__(self, model: ir.Model) -> PassResult:
        """Zero the weights; a layer whose sum is no multiple of four is left alone."""
        log = []
        for value, weight in _weights(model):
            axis = _summed_axis(value, weight)
            if weight.shape[axis] % _BLOCK:
                reason = f"it sums over {weight.shape[axis]} inputs, no multiple of {_BLOCK}"
                log.append(LogEntry(self.name, str(value.name), "declined", reason))
            else:
                log.append(_store(model, self.name, value, _two_of_four(weight, axis), "two of four"))
        return PassResult(model, tuple(log))


def _weights(model: ir.Model) -> Iterator[tuple[ir.Value, Weight]]:
    """Each stored weight matrix or kernel once, even where layers share it."""
    seen: set[ir.Value] = set()
    for node in model.graph:
        value = node.inputs[1] if node.op_type in _WEIGHTED else None
        weight = initializer(model, value)
        if value is not None and weight is not None and value not in seen:
            seen.add(value)
            yield value, weight


def _quantile(weights: dict[ir.Value, Weight], sparsity: float) -> float:
    """The magnitude that exactly the share `sparsity` of all weights does not exceed."""
    magnitudes = np.concatenate([weight.ravel() for weight in weights.values()])
    np.abs(magnitudes, out=magnitudes)  # in place, and so below: no second copy of all weights
    count = int(sparsity * magnitudes.size)
    if not count:
        return -1.0
    magnitudes.partition(count - 1)
    return float(magnitudes[count - 1])


def _summed_axis(value: ir.Value, weight: Weight) -> int:
    node = next(iter(value.uses())).node
    if node.op_type == "MatMul":
        return weight.ndim - 2
    if node.op_type == "Gemm":
        return 1 if "transB" in node.attributes and node.attributes["transB"].as_int() else 0
    return 1 if node.op_type == "Conv" else 0


def _two_of_four(weight: Weight, axis: int) -> Weight:
    moved = np.moveaxis(weight, axis, -1)
    blocks = moved.reshape(*moved.shape[:-1], -1, _BLOCK)
    smallest = np.argsort(np.abs(blocks), axis=-1, kind="stable")[..., : _BLOCK - _KEPT]
    blocks = blocks.copy()
    np.put_along_axis(blocks, smallest, 0, axis=-1)
    return np.moveaxis(blocks.reshape(moved.shape), -1, axis)


def _store(model: ir.Model, name: str, value: ir.Value, masked: Weight, how: str) -> LogEntry:
    set_initializer(model, str(value.name), masked)
    zeros = 1 - np.count_nonzero(masked) / masked.size
    return LogEntry(name, str(value.name), "done", f"{zeros:.1%} zeros ({how}); {_NO_GAIN}")
