"""What rounding each layer costs the output: one instrumented graph, with a switch for every layer.

Every tensor x that a layer reads, its weight included, is replaced for that layer by

    x + s · (x̂ − x)

with x̂ its rounding to 8 bits and s the layer's switch, 0 or 1, an input of the graph. With one switch on, the outputs move by
what rounding that layer alone does to them, through everything behind it. The graph is built and loaded once, and a few
dozen samples tell layers apart: their costs differ by orders of magnitude.
"""

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from foldpress.cost import graph_cost
from foldpress.data import Dataset
from foldpress.graph import copy_graph, initializer
from foldpress.optimizer.statistics import Ranges
from foldpress.optimizer.targets import Target
from foldpress.progress import track
from foldpress.runtime import open_session, run

_LAYERS = {"Conv": 0, "ConvTranspose": 1, "Gemm": 1, "MatMul": 1}  # and the output channels' axis of their weights
_SWITCHES = "foldpress_switches"
_FEW = 32


def sensitivities(model: ir.Model, ranges: Ranges, target: Target, samples: Dataset) -> dict[str, float]:
    """Squared error of the outputs, in units of their variance, with one layer rounded at a time; by name of the layer.

    Args:
        model: a float graph whose nodes have names.
        ranges: of every tensor that its layers read.
        target: what it is to be quantized for.
        samples: real inputs; a few dozen are used.
    """
    samples = samples.select(np.arange(min(_FEW, len(samples))))
    layers = [node for node in model.graph if node.op_type in _LAYERS]
    names = [str(node.name) for node in layers if initializer(model, node.inputs[1]) is not None]
    session = open_session(_instrumented(model, names, ranges, target))
    feed = samples.batch(slice(None))

    def outputs(switches: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        return run(session, {**feed, _SWITCHES: np.tile(switches, (len(samples), 1))})

    expected = outputs(np.zeros(len(names), np.float32))
    rows = track(np.eye(len(names), dtype=np.float32), "measuring sensitivity", len(names))
    return {name: _error(expected, outputs(row)) for name, row in zip(names, rows, strict=True)}


def costliest(model: ir.Model, costs: Mapping[str, float], share: float) -> dict[str, str]:
    """Layers to leave float, with the reason: those whose rounding costs most for each MAC, up to a share of all MACs."""
    macs = {layer.name: layer.macs for layer in graph_cost(model).layers if layer.macs}
    budget = share * sum(macs.values())
    chosen: dict[str, str] = {}
    for name in sorted((name for name in costs if name in macs), key=lambda name: -costs[name] / macs[name]):
        if costs[name] > 0 and macs[name] <= budget:
            budget -= macs[name]
            part = macs[name] / sum(macs.values())
            chosen[name] = (
                f"its rounding moves the outputs by {costs[name]:.1e} of their variance, for {part:.1%} of the MACs"
            )
    return chosen


def _error(expected: list[NDArray[np.float32]], found: list[NDArray[np.float32]]) -> float:
    """Squared error over variance, the mean over the graph's outputs."""
    tiny = np.finfo(np.float32).tiny
    ratios = [((a - b) ** 2).mean() / max(b.var(), tiny) for a, b in zip(found, expected, strict=True)]
    return float(np.mean(ratios))


def _instrumented(model: ir.Model, names: list[str], ranges: Ranges, target: Target) -> ir.Model:
    """The graph with switches [N, layers] as one more input; all samples of a batch have the same."""
    model = copy_graph(model)
    switches = ir.Value(name=_SWITCHES, type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape([None, len(names)]))
    model.graph.inputs.append(switches)
    limits = dict(zip(ranges.tensors, zip(ranges.minimum, ranges.maximum, strict=True), strict=True))
    for number, node in enumerate([node for node in model.graph if node.name in names]):
        switch = _before(
            model, node, "GatherND", [switches, _constant(model, f"{node.name}.position", np.array([0, number]))]
        )
        for place, value in enumerate(node.inputs[:2]):
            assert value is not None  # noqa: S101  # these operators need both
            weight = initializer(model, value)
            if weight is not None:
                rounded = _constant(model, f"{node.name}.rounded{place}", _round_weight(weight, node, target))
            else:
                rounded = _round(model, node, value, limits[str(value.name)], target)
            change = _before(model, node, "Mul", [_before(model, node, "Sub", [rounded, value]), switch])
            node.replace_input_with(place, _before(model, node, "Add", [value, change]))
    return model


def _round(
    model: ir.Model, node: ir.Node, value: ir.Value, limits: tuple[np.float32, np.float32], target: Target
) -> ir.Value:
    """A computed tensor, rounded on its range as the target's types do it."""
    integer = np.int8 if target.signed_activations else np.uint8
    lowest, highest = np.iinfo(integer).min, np.iinfo(integer).max
    low, high = min(float(limits[0]), 0.0), max(float(limits[1]), 0.0)
    if target.symmetric_activations:
        low, high = -max(-low, high), max(-low, high)
    scale = max((high - low) / (highest - lowest), float(np.finfo(np.float32).tiny))
    zero = 0 if target.symmetric_activations else round(lowest - low / scale)
    parameters = [
        _constant(model, f"{node.name}.scale", np.array(scale, np.float32)),
        _constant(model, f"{node.name}.zero", np.array(zero, integer)),
    ]
    integers = _before(model, node, "QuantizeLinear", [value, *parameters])
    return _before(model, node, "DequantizeLinear", [integers, *parameters])


def _round_weight(weight: NDArray[np.float32], node: ir.Node, target: Target) -> NDArray[np.float32]:
    """To 8 bits, or 7, symmetric, by output channel."""
    axis = _LAYERS[node.op_type]
    transposed: int = node.attributes.get_int("transB", 0) if node.op_type == "Gemm" else 0
    axis = 0 if transposed else axis
    others = tuple(one for one in range(weight.ndim) if one != axis % weight.ndim)
    largest = 64 if target.reduce_range else 127
    scale = np.maximum(np.abs(weight).max(others, keepdims=True) / largest, np.finfo(np.float32).tiny)
    rounded: NDArray[np.float32] = (np.rint(weight / scale) * scale).astype(np.float32)
    return rounded


def _before(model: ir.Model, node: ir.Node, operator: str, inputs: list[ir.Value]) -> ir.Value:
    made = ir.node(operator, inputs)
    model.graph.insert_before(node, made)
    return made.outputs[0]


def _constant(model: ir.Model, name: str, array: NDArray[np.generic]) -> ir.Value:
    tensor = ir.tensor(array, name=name)
    value = ir.Value(name=name, const_value=tensor, shape=ir.Shape(array.shape), type=ir.TensorType(tensor.dtype))
    model.graph.register_initializer(value)
    return value
