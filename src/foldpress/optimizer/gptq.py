"""Round weights one input after the other, each time correcting the inputs that are still to come.

GPTQ (Frantar et al. 2022, arXiv:2210.17323), after optimal brain surgeon: with H = E[x xᵀ] + λI and H⁻¹ = UᵀU, U upper
triangular, rounding column j of W to Q_j leaves the least squared output error when the columns behind it change by

    W_k ← W_k − (W_j − Q_j) U_jk / U_jj        for all k > j

H is the Gram matrix of the layer's inputs, which adds up over samples, so the folds' matrices merge. The largest weight of each
output keeps its value: the quantizer takes its scale from it, and then puts every other weight where this pass has put it.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from foldpress.optimizer.blas import one_thread
from foldpress.optimizer.gram import features
from foldpress.optimizer.layers import Layer, Matrices, weighted_layers
from foldpress.optimizer.passes import LogEntry, PassResult
from foldpress.optimizer.weight_grid import grid_scales, rounded

MAX_FEATURES = 2304  # 256 channels under a 3×3 kernel: factoring H takes a second; at twice that, eight
_DAMPING = 0.01  # λ relative to the mean of H's diagonal, the paper's own


@dataclass(frozen=True, eq=False)
class Gptq:
    """Round every observed layer's weight to the quantizer's grid by its Gram matrix.

    `grams` holds G of every layer by name, [D + 1, D + 1] or [G, D + 1, D + 1], see `foldpress.optimizer.gram`; `skipped` are
    layers that stay float.
    """

    grams: Mapping[str, NDArray[np.float64]]
    levels: int
    skipped: Collection[str] = ()
    name: str = "gptq"

    def __call__(self, model: ir.Model) -> PassResult:
        """Round; the log gives the expected squared error of each layer's output beside that of rounding to nearest."""
        layers, declined = weighted_layers(model)
        log = [LogEntry(self.name, name, "declined", reason) for name, reason in declined]
        log += [self._round(model, layer) for layer in layers if layer.name not in self.skipped]
        return PassResult(model, tuple(log))

    def _round(self, model: ir.Model, layer: Layer) -> LogEntry:
        if layer.name not in self.grams:
            return LogEntry(self.name, layer.name, "declined", too_wide(layer) or "its inputs were not observed")
        gram = self.grams[layer.name].reshape(layer.groups, *self.grams[layer.name].shape[-2:])
        hessian, weight = gram[:, :-1, :-1] / gram[:, -1:, -1:], layer.matrices(model)
        energy = squared_error(weight, hessian)
        if not energy:
            return LogEntry(self.name, layer.name, "declined", "its outputs are zero on every calibration sample")
        with one_thread():
            solved, nearest = rounded_by_gram(weight, hessian, self.levels), rounded(weight, self.levels)
        before, after = (squared_error(one - weight, hessian) / energy for one in (nearest, solved))
        if after >= before:
            return LogEntry(self.name, layer.name, "declined", "rounding to nearest is no worse")
        layer.store(model, solved)
        return LogEntry(
            self.name, layer.name, "done", f"error of rounding {before:.1e} → {after:.1e} of its output's energy"
        )


def rounded_by_gram(weight: Matrices, hessian: Matrices, levels: int) -> Matrices:
    """The rounded weight, [G, M, D], given E[x xᵀ] of each group, [G, D, D]."""
    scales = grid_scales(weight, levels)[..., 0].astype(np.float64)
    peak = np.abs(weight).argmax(-1)

    def to_the_grid(column: int, left: Matrices) -> Matrices:
        integers = np.round(left / scales).clip(-levels, levels)
        return np.where(peak == column, weight[..., column], integers * scales)

    largest = np.abs(weight).max(-1, keepdims=True)
    # levels times the scale may be larger by one rounding
    return corrected_in_order(weight, hessian, to_the_grid).clip(-largest, largest)


def corrected_in_order(weight: Matrices, hessian: Matrices, choose: Callable[[int, Matrices], Matrices]) -> Matrices:
    """The weight, [G, M, D], once `choose` has said of each column what it becomes, given what is left of it, [G, M]."""
    upper = np.linalg.cholesky(np.linalg.inv(damped(hessian))).swapaxes(1, 2)
    left, result = weight.copy(), np.empty_like(weight)
    for column in range(weight.shape[-1]):
        result[..., column] = choose(column, left[..., column])
        error = (left[..., column] - result[..., column]) / upper[:, column, column][:, None]
        left[..., column + 1 :] -= error[..., None] * upper[:, None, column, column + 1 :]
    return result


def damped(hessian: Matrices) -> Matrices:
    """H = E[x xᵀ] + λI: inputs that were never seen, or only together, then cost something too."""
    size = hessian.shape[-1]
    mean = np.trace(hessian, axis1=1, axis2=2)[:, None, None] / size
    return np.asarray(hessian + np.eye(size) * np.where(mean > 0, _DAMPING * mean, 1))


def squared_error(change: Matrices, hessian: Matrices) -> float:
    """Expected squared change of a layer's output, summed over outputs: Σ dᵀ H d."""
    return float(np.sum(change * (change @ hessian)))


def too_wide(layer: Layer) -> str | None:
    """Why a layer's Gram matrix is not worth its cost, or None where it is."""
    inputs = features(layer.slot)
    return (
        f"it sums over {inputs} inputs; at most {MAX_FEATURES} are rounded together" if inputs > MAX_FEATURES else None
    )
