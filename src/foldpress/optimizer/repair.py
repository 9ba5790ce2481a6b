"""Which channels cost least, and how their consumers make up for them: least squares on the Gram matrix.

With H = G / n + λI over a layer's inputs and weight W [D, M], removing the features F and refitting the rest raises the
layer's squared output error by exactly (optimal brain surgeon, Hassibi and Stork 1993, in blocks)

    e(F) = tr( W_Fᵀ [(H⁻¹)_FF]⁻¹ W_F )

and the refitted weight of the kept features K, against what the whole layer gave, is  H_KK⁻¹ H_K: W.
"""

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from foldpress.data import Indices
from foldpress.graph import initializer, set_initializer
from foldpress.optimizer.gram import features
from foldpress.optimizer.groups import ChannelGroup, Slot

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

    def columns(self, channels: Indices, count: int) -> Indices:
        """The features of each of `channels`, [n, features per channel]."""
        width = features(self.slot) // count
        return np.asarray(channels[:, None] * width + np.arange(width))


def consumer(model: ir.Model, slot: Slot, gram: Matrix) -> Consumer:
    """Set up one layer; layers with a bias input also refit the bias."""
    weight = initializer(model, slot.value)
    assert weight is not None  # noqa: S101  # a slot is a stored tensor
    matrix = _as_matrix(slot, weight.astype(np.float64))
    count = gram[-1, -1]
    if _takes_bias(slot.node):
        bias = initializer(model, slot.node.inputs[2]) if len(slot.node.inputs) > 2 else None
        matrix = np.vstack([matrix, np.zeros(matrix.shape[1]) if bias is None else bias.astype(np.float64)])
    else:
        gram = gram[:-1, :-1]
    hessian = gram / count
    hessian = hessian + np.eye(len(hessian)) * _RIDGE * np.trace(hessian) / len(hessian)
    return Consumer(slot, hessian, matrix, float(np.sum(matrix * (hessian @ matrix))))


def removal_order(consumers: list[Consumer], channels: int, chunk: int, least: int) -> list[tuple[Indices, float]]:
    """Chunks of channels in the order of what they cost, each with the error so far relative to the output's energy.

    Greedy, with the exact error of each removal given all earlier ones.
    """
    eliminations = [_Elimination(one, channels) for one in consumers]
    left, error = np.arange(channels), 0.0
    order = []
    while len(left) - chunk >= least:
        removed = []
        for _ in range(chunk):
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

    def __init__(self, problem: Consumer, channels: int) -> None:
        self._problem, self._channels = problem, channels
        self._inverse: Matrix = np.linalg.inv(problem.hessian).astype(np.float64)
        self._weight = problem.weight.copy()

    def costs(self, left: Indices) -> Matrix:
        """Relative error of removing each channel that is left, [len(left)]."""
        columns = self._problem.columns(left, self._channels)
        blocks = self._inverse[columns[:, :, None], columns[:, None, :]]
        parts = self._weight[columns]
        return np.asarray(np.einsum("cfm,cfm->c", parts, np.linalg.solve(blocks, parts)) / self._problem.energy)

    def remove(self, channel: Indices) -> None:
        """Eliminate the features of one channel from H⁻¹ and W."""
        columns = self._problem.columns(channel, self._channels)[0]
        factor = np.linalg.solve(self._inverse[np.ix_(columns, columns)], self._inverse[columns]).T
        self._weight -= factor @ self._weight[columns]
        self._inverse -= factor @ self._inverse[columns]


def refit(model: ir.Model, one: Consumer, group: ChannelGroup, keep: Indices) -> None:
    """Solve for the weights of the kept channels, in place; those of the others become zero. `model` may be a copy."""
    kept = one.columns(keep, group.channels).ravel()
    if len(one.weight) > features(one.slot):
        kept = np.append(kept, len(one.weight) - 1)
    solved = np.linalg.solve(one.hessian[np.ix_(kept, kept)], one.hessian[kept] @ one.weight)
    matrix = np.zeros_like(one.weight)
    matrix[kept] = solved
    stored = initializer(model, one.slot.value)
    assert stored is not None  # noqa: S101  # a slot is a stored tensor
    inputs = features(one.slot)
    set_initializer(model, str(one.slot.value.name), _from_matrix(one.slot, matrix[:inputs], stored))
    if len(matrix) > inputs:
        _set_bias(model, str(one.slot.node.name), matrix[inputs].astype(stored.dtype))


def _takes_bias(node: ir.Node) -> bool:
    return node.op_type in ("Conv", "Gemm")


def _as_matrix(slot: Slot, weight: Matrix) -> Matrix:
    """[D, M]: one row for each input feature, one column for each output."""
    return weight.reshape(len(weight), -1).T if slot.node.op_type == "Conv" or slot.axis == 1 else weight


def _from_matrix(slot: Slot, matrix: Matrix, stored: NDArray[np.float32]) -> NDArray[np.float32]:
    transposed = matrix.T if slot.node.op_type == "Conv" or slot.axis == 1 else matrix
    return transposed.reshape(stored.shape).astype(stored.dtype)


def _set_bias(model: ir.Model, name: str, bias: NDArray[np.float32]) -> None:
    node = next(node for node in model.graph if node.name == name)  # a copy of the graph has nodes of its own
    if len(node.inputs) > 2 and node.inputs[2] is not None:
        set_initializer(model, str(node.inputs[2].name), bias)
        return
    name = f"{node.name}_bias"
    value = ir.Value(name=name, const_value=ir.tensor(bias, name=name), shape=ir.Shape(bias.shape),
                     type=ir.TensorType(ir.DataType.FLOAT))  # fmt: skip
    model.graph.register_initializer(value)
    node.resize_inputs(3)
    node.replace_input_with(2, value)
