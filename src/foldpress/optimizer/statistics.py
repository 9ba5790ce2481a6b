"""Mergeable statistics: the minimum and maximum of every tensor, for every fold, in one pass over the data.

The extremes of each sample are taken inside the graph, so no activation ever leaves it. Merging is elementwise minimum and
maximum, which is associative and commutative:

    without(k) = merge of the statistics of every fold j ≠ k

so leaving one fold out after another costs one pass, whatever the number of folds.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from foldpress.data import Array, Dataset, Indices
from foldpress.errors import GraphError
from foldpress.graph import copy_graph
from foldpress.progress import track
from foldpress.runtime import open_session, run

_BATCH = 32
_AXES_AS_INPUT_SINCE = 18  # the opset in which ReduceMin and ReduceMax take their axes as an input


@dataclass(frozen=True, eq=False)
class Ranges:
    """Smallest and largest value of every tensor, each [T], over some samples."""

    tensors: tuple[str, ...]
    minimum: NDArray[np.float32]
    maximum: NDArray[np.float32]

    def merge(self, other: "Ranges") -> "Ranges":
        """The ranges over the samples of both."""
        return Ranges(self.tensors, np.minimum(self.minimum, other.minimum), np.maximum(self.maximum, other.maximum))


@dataclass(frozen=True, eq=False)
class RangeStatistics:
    """Ranges of every fold of every repeat; `minimum` and `maximum` are [repeats, folds, T]."""

    tensors: tuple[str, ...]
    minimum: NDArray[np.float32]
    maximum: NDArray[np.float32]

    def without(self, fold: int, repeat: int = 0) -> Ranges:
        """The ranges over every fold but one: calibration for judging that fold.

        Raises:
            GraphError: a tensor overflows on calibration samples.
        """
        others = [k for k in range(self.minimum.shape[1]) if k != fold]
        return self._merged(repeat, others)

    def all(self) -> Ranges:
        """The ranges over all folds: calibration for the graph that ships."""
        return self._merged(0, list(range(self.minimum.shape[1])))

    def _merged(self, repeat: int, folds: Sequence[int]) -> Ranges:
        low, high = self.minimum[repeat, folds].min(0), self.maximum[repeat, folds].max(0)
        wrong = [name for name, a, b in zip(self.tensors, low, high, strict=True) if not np.isfinite([a, b]).all()]
        if wrong:
            raise GraphError(
                f"no finite range for {', '.join(wrong[:3])}: it overflows float32, or holds NaN, on calibration samples",
                mend="look for exploding activations, or weights that are no numbers",
            )
        return Ranges(self.tensors, low, high)


def collect_ranges(model: ir.Model, tensors: Sequence[str], dataset: Dataset, numbers: Indices) -> RangeStatistics:
    """One pass over the data: the ranges of `tensors` for every fold.

    Args:
        model: a float graph with shapes inferred.
        tensors: names of float tensors of that graph.
        dataset: calibration samples.
        numbers: fold number of each sample in each repeat, [repeats, N].
    """
    names = tuple(tensors)
    repeats, folds = len(numbers), int(numbers.max()) + 1
    low = np.full((repeats, folds, len(names)), np.inf, np.float32)
    high = np.full_like(low, -np.inf)
    for position, smallest, largest in _extremes(model, names, dataset):
        for repeat in range(repeats):
            np.minimum.at(low[repeat], numbers[repeat, position], smallest)
            np.maximum.at(high[repeat], numbers[repeat, position], largest)
    return RangeStatistics(names, low, high)


def _extremes(
    model: ir.Model, names: tuple[str, ...], dataset: Dataset
) -> Iterator[tuple[Indices, NDArray[np.float32], NDArray[np.float32]]]:
    """Sample positions with their smallest and largest values, each [n, T]."""
    size = _BATCH if keeps_samples_apart(model, names) else 1
    session = open_session(_augmented(model, names, one_by_one=size == 1))
    steps = -(-len(dataset) // size)
    for position, feed in track(filled_batches(dataset, size), "calibrating", steps):
        outputs = np.stack(run(session, feed)[-2 * len(names) :])[:, : len(position)]
        yield position, outputs[: len(names)].T, outputs[len(names) :].T


def filled_batches(dataset: Dataset, size: int) -> Iterator[tuple[Indices, dict[str, Array]]]:
    """Sample positions, [n], with the inputs of a batch that is always of the same size.

    The last one is filled up by repeating its first sample: kernels differ in their last bits between batch sizes, and
    a sample's statistics must not depend on which others were collected with it.
    """
    for start in range(0, len(dataset), size):
        position = np.arange(start, min(start + size, len(dataset)))
        yield position, dataset.batch(np.concatenate([position, np.full(size - len(position), start)]))


def keeps_samples_apart(model: ir.Model, names: tuple[str, ...]) -> bool:
    """Whether the first axis of every tensor is the graph's free sample axis, so that batches can be collected."""
    shapes = {name: value.shape for name, value in values_by_name(model).items()}
    axis = model.graph.inputs[0].shape
    if axis is None or isinstance(axis[0], int):
        return False
    return all((shape := shapes.get(name)) is not None and len(shape) and shape[0] == axis[0] for name in names)


def _augmented(model: ir.Model, names: tuple[str, ...], *, one_by_one: bool) -> ir.Model:
    """The graph with, after its own outputs, the minimum and then the maximum of every tensor, each [N]."""
    model = copy_graph(model)
    values = values_by_name(model)
    one_row = _constant(model, "foldpress_one_row", [1])
    for operator in ("ReduceMin", "ReduceMax"):
        for name in names:
            reduced = _reduce(model, operator, values[name], one_by_one)
            if one_by_one:  # a whole tensor belongs to the one sample
                reduced = _add(model, ir.node("Reshape", [reduced, one_row]))
            reduced.type, reduced.shape = values[name].type, ir.Shape([None])
            reduced.name = f"foldpress_{operator}_{name}"
            model.graph.outputs.append(reduced)
    return model


def _reduce(model: ir.Model, operator: str, value: ir.Value, one_by_one: bool) -> ir.Value:
    if not one_by_one:
        value = _add(model, ir.node("Flatten", [value], {"axis": 1}))
    axes = [] if one_by_one else [1]
    attributes: dict[str, int | list[int]] = {"keepdims": 0}
    inputs = [value]
    if axes and model.opset_imports[""] >= _AXES_AS_INPUT_SINCE:
        inputs.append(_constant(model, "foldpress_axes", axes))
    elif axes:
        attributes["axes"] = axes
    return _add(model, ir.node(operator, inputs, attributes))


def _add(model: ir.Model, node: ir.Node) -> ir.Value:
    model.graph.append(node)
    return node.outputs[0]


def _constant(model: ir.Model, name: str, numbers: list[int]) -> ir.Value:
    if name not in model.graph.initializers:
        tensor = ir.tensor(np.array(numbers, np.int64), name=name)
        model.graph.register_initializer(
            ir.Value(
                name=name, const_value=tensor, shape=ir.Shape([len(numbers)]), type=ir.TensorType(ir.DataType.INT64)
            )
        )
    return model.graph.initializers[name]


def values_by_name(model: ir.Model) -> dict[str, ir.Value]:
    """Every computed value of a graph, its inputs included."""
    computed = (value for node in model.graph for value in node.outputs)
    return {str(value.name): value for value in (*model.graph.inputs, *computed)}
