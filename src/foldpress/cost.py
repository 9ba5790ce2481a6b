"""What a graph costs: parameters, multiply-accumulates (MACs) and bytes, by layer and in all.

MACs are counted for one sample, in the operators that multiply matrices; everything else is negligible beside them.
A stored integer weight counts as the weight that it stands for; scales, zero points and shapes are not parameters.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from foldpress.macs import MATRIX_OPERATORS, count_macs
from foldpress.sample_shapes import Shapes, sample_shapes
from foldpress.stored_weights import count_zeros, precision_of, stored_weight, stored_weights, weight_shape


@dataclass(frozen=True)
class LayerCost:
    """One matrix operator. `macs` is None where a shape is unknown; `precision` is that of its stored weight."""

    name: str
    operator: str
    weight_shape: tuple[int, ...]
    parameters: int
    macs: int | None
    bytes: int
    sparsity: float
    precision: str


@dataclass(frozen=True)
class GraphCost:
    """A whole graph. `macs_why` says why MACs are unknown, where they are."""

    parameters: int
    macs: int | None
    macs_why: str | None
    sparsity: float
    operators: dict[str, int]
    layers: tuple[LayerCost, ...]


def graph_cost(model: ir.Model) -> GraphCost:
    """Count parameters, MACs, zeros and operators."""
    shapes = sample_shapes(model)
    layers = tuple(_layer(model, node, shapes) for node in model.graph if node.op_type in MATRIX_OPERATORS)
    unknown = [layer.name for layer in layers if layer.macs is None]
    weights = stored_weights(model)
    total = sum(int(np.prod(weight_shape(value))) for value in weights)
    zeros = sum(count_zeros(model, value) for value in weights)
    return GraphCost(
        parameters=total,
        macs=None if unknown else sum(layer.macs or 0 for layer in layers),
        macs_why=f"the shapes at {', '.join(unknown[:3])} are not known before running" if unknown else None,
        sparsity=zeros / total if total else 0.0,
        operators=dict(sorted(Counter(node.op_type for node in model.graph).items())),
        layers=layers,
    )


def layer_entries(cost: GraphCost) -> list[dict[str, Any]]:
    """The layers as plain JSON values."""
    return [{**layer.__dict__, "weight_shape": list(layer.weight_shape)} for layer in cost.layers]


def _layer(model: ir.Model, node: ir.Node, shapes: Shapes) -> LayerCost:
    kind, second = MATRIX_OPERATORS[node.op_type]
    # A MatMul may have its weight on either side; the recurrent operators have two.
    operands = [node.inputs[0], *node.inputs[second : second + (2 if kind == "recurrent" else 1)]]
    stored = [found for value in operands if value is not None and (found := stored_weight(model, value)) is not None]
    matrices = [value for value in stored if value.shape is not None and len(value.shape) > 1]
    sizes = [int(np.prod(weight_shape(value))) for value in matrices]
    first = matrices[0] if matrices else None
    return LayerCost(
        name=str(node.name or node.outputs[0].name),
        operator=node.op_type,
        weight_shape=weight_shape(first) if first is not None else (),
        parameters=sum(sizes),
        macs=count_macs(node, shapes),
        bytes=sum(value.const_value.nbytes for value in matrices if value.const_value is not None),
        sparsity=sum(count_zeros(model, value) for value in matrices) / sum(sizes) if sum(sizes) else 0.0,
        precision=precision_of(first) if first is not None else "computed",
    )
