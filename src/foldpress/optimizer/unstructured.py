"""Unstructured pruning: single weights become zero, by a threshold on their magnitude, or two of every four.

Nothing gets smaller or faster by it but a compressed file: onnxruntime has no kernel that skips zeros.
"""

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from foldpress.graph import initializer
from foldpress.optimizer.by_layer import by_layer
from foldpress.optimizer.masks import Masks, mask_weight
from foldpress.optimizer.passes import LogEntry, PassResult

_WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_BLOCK, _KEPT = 4, 2
_COMPRESSED = 2**20  # entries of each tensor that are compressed to see how small it gets

Weight = NDArray[Any]


@dataclass(frozen=True)
class PruneThreshold:
    """Set weights to zero whose magnitude is at most `threshold`, or the smallest share `sparsity` of all of them.

    With `sparsity`, one threshold is found for all layers together (global magnitude pruning, Han et al. 2015).
    `layers` has other thresholds, or shares, for some layers, each by itself (`foldpress.optimizer.by_layer`).

    Raises:
        RequestError: `layers` names none that there is.
    """

    sparsity: float | None = None
    threshold: float | None = None
    layers: Mapping[str, float] = field(default_factory=dict)
    name: str = "prune-threshold"

    def __call__(self, model: ir.Model) -> PassResult:
        """Zero the weights; the log has the share of zeros in every layer."""
        return PassResult(model, self.mask(model)[1])

    def mask(self, model: ir.Model) -> tuple[Masks, tuple[LogEntry, ...]]:
        """The same, in place, with the masks."""
        weights = dict(_weights(model))
        thresholds: dict[ir.Value, float] = {}
        for amount, values in self._parts(model, [*weights]):
            found = amount if self.threshold is not None else _quantile([weights[value] for value in values], amount)
            thresholds |= dict.fromkeys(values, found)
        masks = Masks(
            weights={str(value.name): ~(np.abs(weight) <= thresholds[value]) for value, weight in weights.items()}
        )
        how = {str(value.name): f"threshold {threshold:.3g}" for value, threshold in thresholds.items()}
        return masks, tuple(_carry_out(model, masks, self.name, how))

    def parts(self, model: ir.Model) -> list[tuple[float, list[str]]]:
        """Tensors whose weights are pruned together, and how far."""
        parts = self._parts(model, [value for value, _ in _weights(model)])
        return [(amount, [str(value.name) for value in values]) for amount, values in parts]

    def _parts(self, model: ir.Model, values: list[ir.Value]) -> list[tuple[float, list[ir.Value]]]:
        readers = [node for node in model.graph if node.op_type in _WEIGHTED and node.inputs[1] in values]
        named = by_layer("layers", self.layers, readers)
        own = {node.inputs[1]: named[str(node.name)] for node in readers if str(node.name) in named}
        usual = self.threshold if self.threshold is not None else self.sparsity or 0.0
        together = [value for value in values if value not in own]
        return [(usual, together)] * bool(together) + [(own[value], [value]) for value in values if value in own]


@dataclass(frozen=True)
class PruneTwoFour:
    """Keep the two largest of every four consecutive weights that are summed over (2:4, Mishra et al. 2021)."""

    name: str = "prune-2:4"

    def __call__(self, model: ir.Model) -> PassResult:
        """Zero the weights; a layer whose sum is no multiple of four is left alone."""
        return PassResult(model, self.mask(model)[1])

    def mask(self, model: ir.Model) -> tuple[Masks, tuple[LogEntry, ...]]:
        """The same, in place, with the masks."""
        log, kept = [], {}
        for value, weight in _weights(model):
            axis = _summed_axis(value, weight)
            if weight.shape[axis] % _BLOCK:
                reason = f"it sums over {weight.shape[axis]} inputs, no multiple of {_BLOCK}"
                log.append(LogEntry(self.name, str(value.name), "declined", reason))
            else:
                kept[str(value.name)] = _two_of_four(weight, axis)
        masks = Masks(weights=kept)
        return masks, (*log, *_carry_out(model, masks, self.name, dict.fromkeys(kept, "two of four")))


def _weights(model: ir.Model) -> Iterator[tuple[ir.Value, Weight]]:
    """Each stored weight matrix or kernel once, even where layers share it."""
    seen: set[ir.Value] = set()
    for node in model.graph:
        value = node.inputs[1] if node.op_type in _WEIGHTED else None
        weight = initializer(model, value)
        if value is not None and weight is not None and value not in seen:
            seen.add(value)
            yield value, weight


def _quantile(weights: Sequence[Weight], sparsity: float) -> float:
    """The magnitude that exactly the share `sparsity` of all weights does not exceed."""
    magnitudes = np.concatenate([weight.ravel() for weight in weights])
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


def _two_of_four(weight: Weight, axis: int) -> NDArray[np.bool_]:
    """True for the two largest of every block along the axis."""
    moved = np.moveaxis(weight, axis, -1)
    blocks = np.abs(moved).reshape(*moved.shape[:-1], -1, _BLOCK)
    smallest = np.argsort(blocks, axis=-1, kind="stable")[..., : _BLOCK - _KEPT]
    stays = np.ones(blocks.shape, bool)
    np.put_along_axis(stays, smallest, False, axis=-1)
    return np.moveaxis(stays.reshape(moved.shape), -1, axis)


def _carry_out(model: ir.Model, masks: Masks, name: str, how: Mapping[str, str]) -> Iterator[LogEntry]:
    """Zero what the masks leave out, and measure what that is good for."""
    before = after = 0.0
    for tensor, stays in masks.weights.items():
        before += _deflated(model, tensor)
        mask_weight(model, tensor, stays)
        after += _deflated(model, tensor)
        yield LogEntry(name, tensor, "done", f"{1 - stays.mean():.1%} of the weights are zero ({how[tensor]})")
    if before:
        saved = f"in a compressed file (deflate) weights take {after / before:.0%}"
        yield LogEntry(name, "graph", "done", f"nothing gets faster, as no onnxruntime kernel skips zeros; {saved}")


def _deflated(model: ir.Model, tensor: str) -> float:
    """Bytes of a stored tensor once it is compressed, judged by its first part where it is large."""
    stored = initializer(model, model.graph.initializers[tensor])
    assert stored is not None  # noqa: S101  # masks are made of stored tensors
    part = np.ascontiguousarray(stored).reshape(-1)[:_COMPRESSED]
    return len(zlib.compress(part.tobytes())) * stored.size / max(part.size, 1)
