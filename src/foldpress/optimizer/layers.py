"""Weighted layers as matrices: what each output sums over, whatever the operator, layout and number of groups.

A layer computes, for each of its G groups, y = W x + b with W [M, D]: M outputs of the group, D inputs of each output. For a
convolution x is the patch under the kernel, in the order in which the weight is stored; for a matrix it is the last axis.
"""

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from foldpress.graph import initializer, set_initializer
from foldpress.optimizer.groups import Slot

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

    @property
    def slot(self) -> Slot:
        """Its weight, with the axis of its inputs."""
        return Slot(self.node, 1, 0 if self.transposed else 1)

    @property
    def channel_axis(self) -> int:
        """Where its input has channels: 1, or the last axis (−1)."""
        return 1 if self.node.op_type == "Conv" else -1

    def matrices(self, model: ir.Model) -> Matrices:
        """The weight that `model` stores for it, as W of every group, [G, M, D]."""
        stored = _stored(model, self.weight)
        rows = stored.T if self.transposed else stored.reshape(len(stored), -1)
        return rows.astype(np.float64).reshape(self.groups, -1, rows.shape[1])

    def store(self, model: ir.Model, matrices: Matrices) -> None:
        """Replace that weight, in place."""
        stored = _stored(model, self.weight)
        rows = matrices.reshape(-1, matrices.shape[-1])
        shaped = rows.T if self.transposed else rows.reshape(stored.shape)
        set_initializer(model, str(self.weight.name), shaped.astype(stored.dtype))

    def bias(self, model: ir.Model) -> ir.Value | None:
        """The stored tensor that is added to its outputs: a third input, or what an Add behind a MatMul adds."""
        found = self._bias_input()
        value = _input(*found) if found is not None else None
        return value if initializer(model, value) is not None else None

    def add_to_bias(self, model: ir.Model, amount: Matrices) -> bool:
        """Add `amount`, [G · M], to its outputs, in place; False where there is no place for it."""
        found = self._bias_input()
        if found is None:
            return False
        node = next(node for node in model.graph if node.name == found[0].name)
        value = _input(node, found[1])
        stored = initializer(model, value)
        if value is not None and stored is None:
            return False
        kind = np.float32 if stored is None else stored.dtype
        total = (amount if stored is None else stored + amount).astype(kind)
        if value is not None and len(value.uses()) == 1:
            set_initializer(model, str(value.name), total)
        else:  # none yet, or one that another layer reads too
            own = _new_initializer(model, f"{self.name}_bias", total)
            node.resize_inputs(max(len(node.inputs), found[1] + 1))
            node.replace_input_with(found[1], own)
        return True

    def _bias_input(self) -> tuple[ir.Node, int] | None:
        """The node and the number of its input that is added to the outputs, or None where nothing is."""
        if self.node.op_type != "MatMul":
            return self.node, 2
        uses = list(self.node.outputs[0].uses())
        if len(uses) != 1 or uses[0].node.op_type != "Add" or self.node.outputs[0].is_graph_output():
            return None
        return uses[0].node, 1 - uses[0].idx


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
    if weight.dtype != np.float32 or not np.isfinite(weight).all():
        return "its weight is not of finite float32 numbers"
    if len(_there(node.inputs[1]).uses()) > 1:
        return "it shares its weight with another layer"
    if node.op_type != "Conv" and (weight.ndim != 2 or _attribute(node, "transA", 0)):
        return "it does not multiply its last axis by a stored matrix"
    if node.op_type == "Gemm" and any(_factor(node, name) != 1 for name in ("alpha", "beta")):
        return "it scales its product or its bias"
    return None


def _stored(model: ir.Model, value: ir.Value) -> NDArray[np.float32]:
    """By name: `model` may be a copy of the graph that a layer was found in, with weights of its own."""
    found = initializer(model, model.graph.initializers[str(value.name)])
    assert found is not None  # noqa: S101  # see weighted_layers
    return found


def _new_initializer(model: ir.Model, name: str, array: NDArray[np.float32]) -> ir.Value:
    while name in model.graph.initializers:
        name += "_"
    value = ir.Value(name=name, const_value=ir.tensor(array, name=name), shape=ir.Shape(array.shape),
                     type=ir.TensorType(ir.DataType.FLOAT))  # fmt: skip
    model.graph.register_initializer(value)
    return value


def _input(node: ir.Node, number: int) -> ir.Value | None:
    return node.inputs[number] if len(node.inputs) > number else None


def _there(value: ir.Value | None) -> ir.Value:
    assert value is not None  # noqa: S101  # required by the operator
    return value


def _attribute(node: ir.Node, name: str, default: int) -> int:
    return node.attributes[name].as_int() if name in node.attributes else default


def _factor(node: ir.Node, name: str) -> float:
    return node.attributes[name].as_float() if name in node.attributes else 1.0
