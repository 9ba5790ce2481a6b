"""Which channels cost least, and how their consumers make up for them: least squares on the Gram matrix.

With H = G / n + λI over a layer's inputs and weight W [D, M], removing the features F and refitting the rest raises the
layer's squared output error by exactly (optimal brain surgeon, Hassibi and Stork 1993, in blocks)

    e(F) = tr( W_Fᵀ [(H⁻¹)_FF]⁻¹ W_F )

and the refitted weight of the kept features K, against what the whole layer gave, is  H_KK⁻¹ H_K: W.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from foldpress.data import Indices
from foldpress.graph import add_initializer, initializer, set_initializer
from foldpress.optimizer.follow.following import has, there
from foldpress.optimizer.gram import features
from foldpress.optimizer.groups import Slot

Matrix = NDArray[np.float64]

# Ridge relative to the mean feature energy: large enough to invert the Gram matrix of features that depend on each other.
_RIDGE = 1e-4


@dataclass(eq=False)
class Consumer:
    """One consuming layer as a least-squares problem: H [D(+1), D(+1)], W [D(+1), M], energy of its output."""

    slot: Slot
    hessian: Matrix
    weight: Matrix
    energy: float

    def columns(self, channels: Indices) -> Indices:
        """The features of each of `channels`, [n, features per channel]."""
        positions = np.stack([np.flatnonzero(self.slot.channels == channel) for channel in channels])
        taps = features(self.slot) // len(self.slot.channels)
        return np.asarray((positions[:, :, None] * taps + np.arange(taps)).reshape(len(channels), -1))

    def without(self, channels: Indices) -> Indices:
        """The features that are left without those of `channels`."""
        every = np.arange(features(self.slot))
        return np.setdiff1d(every, self.columns(channels)) if len(channels) else every


def consumer(model: ir.Model, slot: Slot, gram: Matrix) -> Consumer:
    """Set up one layer; layers with a bias input also refit the bias."""
    weight = initializer(model, slot.value)
    assert weight is not None  # noqa: S101  # a slot is a stored tensor
    matrix = _as_matrix(slot, weight.astype(np.float64))
    count = gram[-1, -1]
    if _bias_position(slot.node) is not None:
        matrix = np.vstack([matrix, _bias(model, slot.node, matrix.shape[1])])
    else:
        gram = gram[:-1, :-1]
    hessian = gram / count
    hessian = hessian + np.eye(len(hessian)) * _RIDGE * np.trace(hessian) / len(hessian)
    energy = float(np.sum(matrix * (hessian @ matrix)))
    return Consumer(
        slot, hessian, matrix, max(energy, float(np.finfo(np.float32).tiny))
    )  # a layer may give zeros alone


def removal_order(consumers: Sequence[Consumer], channels: int, chunk: int, least: int) -> list[tuple[Indices, float]]:
    """Chunks of channels in the order of what they cost, each with the error so far relative to the output's energy.

    Greedy, with the exact error of each removal given all earlier ones. At least `least` channels are left; where that is none,
    the last chunk may be smaller.
    """
    eliminations = [_Elimination(one) for one in consumers]
    left, error = np.arange(channels), 0.0
    order = []
    while len(left) - chunk >= least or len(left) > least == 0:
        removed: list[int] = []
        for _ in range(min(chunk, len(left))):
            costs = np.sum([elimination.costs(left) for elimination in eliminations], axis=0)
            best = int(np.argmin(costs))
            error += float(costs[best])
            for elimination in eliminations:
                elimination.remove(left[best : best + 1])
            removed.append(left[best])
            left = np.delete(left, best)
        order.append((np.array(removed), error))
    return order


class _Elimination:
    """A least-squares problem that loses features one channel after another: H⁻¹ and the refitted W of what is left."""

    def __init__(self, problem: Consumer) -> None:
        self._problem = problem
        self._inverse: Matrix = np.linalg.inv(problem.hessian).astype(np.float64)
        self._weight = problem.weight.copy()

    def costs(self, left: Indices) -> Matrix:
        """Relative error of removing each channel that is left, [len(left)]."""
        columns = self._problem.columns(left)
        blocks = self._inverse[columns[:, :, None], columns[:, None, :]]
        parts = self._weight[columns]
        return np.asarray(np.einsum("cfm,cfm->c", parts, np.linalg.solve(blocks, parts)) / self._problem.energy)

    def remove(self, channel: Indices) -> None:
        """Eliminate the features of one channel from H⁻¹ and W."""
        columns = self._problem.columns(channel)[0]
        factor = np.linalg.solve(self._inverse[np.ix_(columns, columns)], self._inverse[columns]).T
        self._weight -= factor @ self._weight[columns]
        self._inverse -= factor @ self._inverse[columns]


def refit(model: ir.Model, one: Consumer, keep: Indices) -> None:
    """Solve for the weights of the features `keep`, in place; those of the others become zero. `model` may be a copy."""
    inputs = features(one.slot)
    kept = keep if len(one.weight) == inputs else np.append(keep, inputs)
    solved = np.linalg.solve(one.hessian[np.ix_(kept, kept)], one.hessian[kept] @ one.weight)
    matrix = np.zeros_like(one.weight)
    matrix[kept] = solved
    stored = initializer(model, one.slot.value)
    assert stored is not None  # noqa: S101  # a slot is a stored tensor
    set_initializer(model, str(one.slot.value.name), _from_matrix(one.slot, matrix[:inputs], stored))
    if len(matrix) > inputs:
        _set_bias(model, str(one.slot.node.name), matrix[inputs])


def _bias_position(node: ir.Node) -> int | None:
    """Which input is added to the products, one number for each output; None where it is computed, or there can be none."""
    position = {"Conv": 2, "Gemm": 2, "LSTM": 3, "GRU": 3}.get(node.op_type)
    if position is None or not has(node, position):
        return position if node.op_type in ("Conv", "Gemm") else None
    value = there(node, position)
    flat = value.shape is not None and len(value.shape) == (1 if position == 2 else 2)
    return position if value.is_initializer() and flat else None


def _bias(model: ir.Model, node: ir.Node, outputs: int) -> Matrix:
    position = _bias_position(node)
    stored = initializer(model, node.inputs[position]) if position is not None and has(node, position) else None
    return np.zeros(outputs) if stored is None else _added(stored).ravel().astype(np.float64)


def _added(stored: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of a bias: all of it, or for recurrent layers, [directions, 2 · gates · units], the half that belongs to their inputs."""
    return stored if stored.ndim == 1 else stored[:, : stored.shape[1] // 2]


def _as_matrix(slot: Slot, weight: Matrix) -> Matrix:
    """[D, M]: one row for each input feature, one column for each output."""
    if slot.axis == 0:
        return weight
    return weight.reshape(len(weight) if slot.axis == 1 else -1, features(slot)).T


def _from_matrix(slot: Slot, matrix: Matrix, stored: NDArray[np.float32]) -> NDArray[np.float32]:
    transposed = matrix.T if slot.axis else matrix
    return transposed.reshape(stored.shape).astype(stored.dtype)


def _set_bias(model: ir.Model, name: str, bias: Matrix) -> None:
    node = next(node for node in model.graph if node.name == name)  # a copy of the graph has nodes of its own
    position = _bias_position(node)
    assert position is not None  # noqa: S101  # see consumer
    stored = initializer(model, node.inputs[position]) if has(node, position) else None
    new = np.zeros(len(bias), np.float32) if stored is None else np.array(stored)
    _added(new)[...] = bias.reshape(_added(new).shape)
    if stored is not None and len(there(node, position).uses()) == 1:
        set_initializer(model, str(there(node, position).name), new)
        return
    node.resize_inputs(max(len(node.inputs), position + 1))
    node.replace_input_with(position, add_initializer(model, f"{name}_bias", new))
