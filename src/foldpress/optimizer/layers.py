"""Weighted layers as matrices: what each output sums over, whatever the operator, layout and number of groups.

A layer computes, for each of its G groups, y = W x + b with W [M, D]: M outputs of the group, D inputs of each output. For a
convolution x is the patch under the kernel, in the order in which the weight is stored; for a matrix it is the last axis.
"""

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from foldpress.graph import initializer, set_initializer

Matrices = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Layer:
    """A Conv, Gemm or MatMul with a stored weight of its own. `transposed`: the weight is stored [D, M]."""

    node: ir.Node
    groups: int
    transposed: bool

    @property
    def name(self) -> str:
        """The name of its node."""
        return str(self.node.name)

    @property
    def input(self) -> ir.Value:
        """What it is given."""
        return _there(self.node.inputs[0])

    @property
    def weight(self) -> ir.Value:
        """Its stored weight."""
        return _there(self.node.inputs[1])

    def matrices(self, model: ir.Model) -> Matrices:
        """The stored weight as W of every group, [G, M, D]."""
        stored = initializer(model, self.weight)
        assert stored is not None  # noqa: S101  # see weighted_layers
        rows = stored.T if self.transposed else stored.reshape(len(stored), -1)
        return rows.astype(np.float64).reshape(self.groups, -1, rows.shape[1])

    def store(self, model: ir.Model, matrices: Matrices) -> None:
        """Replace the stored weight, in place."""
        stored = initializer(model, self.weight)
        assert stored is not None  # noqa: S101  # see weighted_layers
        rows = matrices.reshape(-1, matrices.shape[-1])
        shaped = rows.T if self.transposed else rows.reshape(stored.shape)
        set_initializer(model, str(self.weight.name), shaped.astype(stored.dtype))

    def bias(self, model: ir.Model) -> ir.Value | None:
        """The stored vector that is added to each output, [G · M]: a third input, or what an Add behind a MatMul adds."""
        if self.node.op_type != "MatMul":
            return self.node.inputs[2] if len(self.node.inputs) > 2 else None
        uses = list(self.node.outputs[0].uses())
        if len(uses) != 1 or uses[0].node.op_type != "Add":
            return None
        other = uses[0].node.inputs[1 - uses[0].idx]
        stored = initializer(model, other)
        return other if stored is not None and stored.ndim == 1 else None


def weighted_layers(model: ir.Model) -> tuple[list[Layer], list[tuple[str, str]]]:
    """Layers in graph order, and for every other weighted operator its name and the reason why it is none."""
    layers, declined = [], []
    for node in model.graph:
        if node.op_type in ("Conv", "ConvTranspose", "Gemm", "MatMul"):
            reason = _reason(model, node)
            if reason is None:
                transposed = node.op_type == "MatMul" or (node.op_type == "Gemm" and not _attribute(node, "transB", 0))
                groups = _attribute(node, "group", 1) if node.op_type == "Conv" else 1
                layers.append(Layer(node, groups, transposed))
            else:
                declined.append((str(node.name), reason))
    return layers, declined


def _reason(model: ir.Model, node: ir.Node) -> str | None:
    """Why a node is no layer, or None where it is one."""
    weight = initializer(model, node.inputs[1])
    if node.op_type == "ConvTranspose":
        return "a transposed convolution is not supported"
    if weight is None:
        return "its weight is computed, not stored"
    if len(_there(node.inputs[1]).uses()) > 1:
        return "it shares its weight with another layer"
    if node.op_type != "Conv" and (weight.ndim != 2 or _attribute(node, "transA", 0)):
        return "it does not multiply its last axis by a stored matrix"
    if node.op_type == "Gemm" and any(_factor(node, name) != 1 for name in ("alpha", "beta")):
        return "it scales its product or its bias"
    return None


def _there(value: ir.Value | None) -> ir.Value:
    assert value is not None  # noqa: S101  # required by the operator
    return value


def _attribute(node: ir.Node, name: str, default: int) -> int:
    return node.attributes[name].as_int() if name in node.attributes else default


def _factor(node: ir.Node, name: str) -> float:
    return node.attributes[name].as_float() if name in node.attributes else 1.0
