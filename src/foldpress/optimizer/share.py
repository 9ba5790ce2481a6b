"""Shared weights: every layer is left with a few different values, and a file holds which of them each weight takes.

The second step of Deep Compression (Han et al. 2016, arXiv:1510.00149, §3), fitted to what the layers compute instead of to
the weights, see `codebook`. Binary weights (XNOR-Net) and ternary ones (TWN) are its cases of one and of two bits. Nothing
gets faster: the graph that runs is float, whatever its file looks like (`codebook_file`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from foldpress.codebook_weights import entropy, find_codebooks
from foldpress.errors import RequestError
from foldpress.optimizer.blas import one_thread
from foldpress.optimizer.by_layer import by_layer
from foldpress.optimizer.codebook import Method, Per, shared
from foldpress.optimizer.gptq import squared_error, too_wide
from foldpress.optimizer.layers import Layer, Matrices, weighted_layers
from foldpress.optimizer.passes import Action, LogEntry, PassResult
from foldpress.optimizer.weight_grid import grid_scales

_FIXED = {"binary": 2, "ternary": 3}


@dataclass(frozen=True)
class Share:
    """What is asked for.

    Args:
        bits: 1 to 8, of each weight's place in the codebook; zero is one of the values where weights are pruned.
        per: what has a codebook of its own.
        method: "kmeans", or "binary" and "ternary", which have 1 and 2 bits.
        keep_float: layers that stay as they are, see `by_layer`.
        layers: other `bits` of some layers.
    """

    bits: int = 4
    per: Per = "tensor"
    method: Method = "kmeans"
    keep_float: tuple[str, ...] = ()
    layers: Mapping[str, int] = field(default_factory=dict)

    def values(self, weight: Matrices, bits: int) -> int:
        """How many values there may be beside the zeros of pruned weights; with one bit two, for else there were but one."""
        if self.method != "kmeans":
            return _FIXED[self.method]
        return max((1 << bits) - int((weight == 0).any()), 2)


@dataclass(frozen=True, eq=False)
class ShareWeights:
    """Let the weights of every layer share values.

    `grams` holds G of the layers by name, [D + 1, D + 1] or [G, D + 1, D + 1], see `foldpress.optimizer.gram`; without one,
    a layer's weights all count the same. `levels` is the largest integer of a weight, where weights are to be int8: then the
    values of k-means are integers, and ±levels two more of them.

    Raises:
        RequestError: there is no layer, or none of a name that is asked for.
    """

    asked: Share
    grams: Mapping[str, NDArray[np.float64]]
    levels: int | None = None
    name: str = "shared-weights"

    def __call__(self, model: ir.Model) -> PassResult:
        """Share; the log has each layer's values, their entropy and what they cost, or why it stays as it is."""
        layers, declined = weighted_layers(model)
        if not layers:
            raise RequestError("no layer of this graph can share weights", available="Conv, Gemm and MatMul")
        nodes = [layer.node for layer in layers]
        kept = by_layer("keep_float", dict.fromkeys(self.asked.keep_float, True), nodes)
        bits = by_layer("layers", self.asked.layers, nodes)
        log = [LogEntry(self.name, name, "declined", reason) for name, reason in declined]
        for layer in layers:
            if layer.name in kept:
                log.append(self._entry(layer, "declined", "asked for by keep_float"))
            else:
                log.append(self._share(model, layer, bits.get(layer.name, self.asked.bits)))
        return PassResult(model, tuple(log))

    def _share(self, model: ir.Model, layer: Layer, bits: int) -> LogEntry:
        weight = layer.matrices(model)
        count = self.asked.values(weight, bits)
        before = find_codebooks(_rows(weight, self.asked.per))
        if not self._integers and before is not None and before.values.shape[1] <= count + int((weight == 0).any()):
            return self._entry(layer, "declined", f"it has no more than {before.values.shape[1]} values as it is")
        hessian, means, note = self._learned(layer, weight)
        if layer.bias(model) is not None:  # which makes up for what a change does to the mean
            hessian = hessian - means[:, :, None] * means[:, None]
        with one_thread():
            found = shared(weight, hessian, self.asked.method, count, self.asked.per, self._integers)
        found = found.astype(np.float32).astype(np.float64)
        energy = squared_error(weight, hessian)
        error = squared_error(found - weight, hessian) / energy if energy else 0.0
        layer.store(model, found)
        if layer.bias(model) is not None:
            layer.add_to_bias(model, ((weight - found) @ means[..., None]).ravel())
        detail = f"{self._described(found)}, error {error:.1e} of its output's energy{note}"
        return self._entry(layer, "done", detail)

    def _learned(self, layer: Layer, weight: Matrices) -> tuple[Matrices, Matrices, str]:
        """E[x xᵀ] and E[x] of each group, and what the log has to say of them."""
        groups, size = weight.shape[0], weight.shape[-1]
        if layer.name not in self.grams:
            why = too_wide(layer) or "its inputs were not observed"
            return np.tile(np.eye(size), (groups, 1, 1)), np.zeros((groups, size)), f" if all inputs are alike: {why}"
        gram = self.grams[layer.name].reshape(groups, size + 1, size + 1)
        gram = gram / gram[:, -1:, -1:]
        return gram[:, :-1, :-1], gram[:, -1, :-1], ""

    @property
    def _integers(self) -> int | None:
        """`levels`, where values have to be integers: one magnitude is the scale itself."""
        return self.levels if self.asked.method == "kmeans" else None

    def _described(self, weight: Matrices) -> str:
        """How many values, and the bits of a weight's place among them once places are coded."""
        if self._integers:
            integers = np.round(weight / grid_scales(weight, self._integers))
            return f"{len(np.unique(integers))} integers, {entropy(integers):.2f} bits for each weight"
        books = find_codebooks(_rows(weight, self.asked.per))
        assert books is not None  # noqa: S101  # at most 2^8, zero included
        return f"{books.values.shape[1]} values by {self.asked.per}, {entropy(books.places):.2f} bits for each weight"

    def _entry(self, layer: Layer, action: Action, detail: str) -> LogEntry:
        return LogEntry(self.name, layer.name, action, detail)


def _rows(weight: Matrices, per: Per) -> NDArray[np.float32]:
    rows = weight.reshape(1, -1) if per == "tensor" else weight.reshape(-1, weight.shape[-1])
    return rows.astype(np.float32)
