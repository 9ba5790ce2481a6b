"""The values of tensors inside a graph, for every sample, within a budget of memory.

A batch is as large as is fast. Where the tensors of one sample alone exceed it, they are fetched in groups, with
one pass over the data for each. In every pass each tensor has a reader of its own, so that onnxruntime fuses the same
operators each time: the values are the same bit for bit, whatever the groups.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from foldpress.data import Array, Dataset, Indices
from foldpress.errors import GraphError
from foldpress.graph import copy_graph
from foldpress.progress import track
from foldpress.runtime import fetch, open_session

BUDGET_BYTES = 2**28  # of values at once
BATCH_BYTES = 2**24  # ResNet-20 is no faster with more
_BATCH = 64
_FLOAT_BYTES = 4

Observed = tuple[int, Indices, NDArray[np.float32]]


def observe(
    model: ir.Model,
    tensors: Sequence[str],
    dataset: Dataset,
    order: Indices,
    *,
    label: str = "calibrating",
    batch_bytes: int = BATCH_BYTES,
    budget: int = BUDGET_BYTES,
) -> Iterator[Observed]:
    """The number of a tensor, the positions of some samples, [n], and that tensor's values in them, [n, …].

    Every tensor meets every sample once. Where a tensor's first axis does not count samples, they come one at a time, each with
    the whole tensor.

    Args:
        model: a float graph with shapes inferred.
        tensors: names of float tensors of that graph.
        dataset: the samples.
        order: positions of the samples in the order in which to take them, [N].
        label: what progress calls it.
        batch_bytes: of values in a batch of several samples, at most.
        budget: bytes of values at once, at most, wherever one tensor of one sample fits.

    Raises:
        GraphError: the graph fails on a batch, or mixes up its samples.
    """
    sizes = _bytes_of_a_sample(model, tensors, dataset)
    fitting = min(batch_bytes, budget) // max(sum(sizes), 1)
    size = max(1, min(_BATCH, fitting)) if keeps_samples_apart(model, tensors) else 1
    groups = _groups(sizes, budget)
    for number, group in enumerate(groups, 1):
        part = f"{label}, part {number} of {len(groups)}" if len(groups) > 1 else label
        yield from _observe_group(model, tensors, group, dataset, order, size, part)


def _observe_group(
    model: ir.Model,
    tensors: Sequence[str],
    group: list[int],
    dataset: Dataset,
    order: Indices,
    size: int,
    label: str,
) -> Iterator[Observed]:
    """One pass over the data that fetches the tensors of these numbers."""
    fetched = [tensors[tensor] for tensor in group]
    session = _open(model, fetched, [name for name in tensors if name not in fetched])
    for position, feed in track(filled_batches(dataset, order, size), label, -(-len(order) // size)):
        values = _values(session, fetched, feed)
        for tensor in group:
            found = values.pop(tensors[tensor])  # not kept: it is the next tensor's turn to fill the memory
            if size > 1 and found.shape[:1] != (size,):
                raise GraphError(
                    f"tensor {tensors[tensor]} is {list(found.shape)} for {size} samples, where shapes promised one row a sample"
                )
            yield tensor, position, found[: len(position)] if size > 1 else found


def _values(session: Any, names: list[str], feed: dict[str, Array]) -> dict[str, Array]:
    """Values by name; the graph's own inputs are at hand."""
    computed = [name for name in names if name not in feed]
    found = fetch(session, computed, feed) if computed else []
    return {name: feed[name] for name in names if name in feed} | dict(zip(computed, found, strict=True))


def filled_batches(dataset: Dataset, order: Indices, size: int) -> Iterator[tuple[Indices, dict[str, Array]]]:
    """Sample positions, [n], with the inputs of a batch that is always of the same size.

    The last one is filled up by repeating its first sample: kernels differ in their last bits between batch sizes, and
    a sample's statistics must not depend on which others were collected with it.
    """
    for start in range(0, len(order), size):
        position = order[start : start + size]
        yield position, dataset.batch(np.concatenate([position, np.full(size - len(position), position[0])]))


def keeps_samples_apart(model: ir.Model, tensors: Sequence[str]) -> bool:
    """Whether the first axis of every tensor is the graph's free sample axis, so that batches can be collected."""
    shapes = {name: value.shape for name, value in values_by_name(model).items()}
    axis = model.graph.inputs[0].shape
    if axis is None or isinstance(axis[0], int):
        return False
    return all((shape := shapes.get(name)) is not None and len(shape) and shape[0] == axis[0] for name in tensors)


def values_by_name(model: ir.Model) -> dict[str, ir.Value]:
    """Every computed value of a graph, its inputs included."""
    computed = (value for node in model.graph for value in node.outputs)
    return {str(value.name): value for value in (*model.graph.inputs, *computed)}


def _bytes_of_a_sample(model: ir.Model, tensors: Sequence[str], dataset: Dataset) -> list[int]:
    """Bytes of every tensor for the first sample: counted by running it, since inferred shapes may leave axes open."""
    feed = dataset.batch(np.zeros(1, np.intp))
    computed = [name for name in tensors if name not in feed]
    session = _open(model, [], computed)
    counts = (
        dict(zip(computed, fetch(session, [_reader(name) for name in computed], feed), strict=True)) if computed else {}
    )
    return [_FLOAT_BYTES * (int(counts[name]) if name in counts else feed[name].size) for name in tensors]


def _groups(sizes: list[int], budget: int) -> list[list[int]]:
    """Numbers of tensors, in order, in groups of at most `budget` bytes; a larger tensor is a group of its own."""
    groups: list[list[int]] = [[]]
    filled = 0
    for tensor, size in enumerate(sizes):
        if groups[-1] and filled + size > budget:
            groups.append([])
            filled = 0
        groups[-1].append(tensor)
        filled += size
    return groups


def _open(model: ir.Model, fetched: Sequence[str], read: Sequence[str]) -> Any:
    """A session that gives the tensors `fetched`, and of the tensors `read` only how many elements they have."""
    model = copy_graph(model)
    values = values_by_name(model)
    given = {value.name for value in (*model.graph.inputs, *model.graph.outputs)}
    model.graph.outputs.extend(values[name] for name in dict.fromkeys(fetched) if name not in given)
    for name in read:
        size = ir.node("Size", [values[name]])
        model.graph.append(size)
        size.outputs[0].name, size.outputs[0].type = _reader(name), ir.TensorType(ir.DataType.INT64)
        size.outputs[0].shape = ir.Shape([])
        model.graph.outputs.append(size.outputs[0])
    return open_session(model, sparing=True)


def _reader(name: str) -> str:
    return f"foldpress_size_of_{name}"
