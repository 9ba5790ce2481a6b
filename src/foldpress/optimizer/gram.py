"""Gram matrices of layer inputs, by fold, in one pass: all that least-squares repair needs to know of the data.

For a layer y = W x + b with inputs x (for a convolution, the patch under the kernel), any change of W and b costs a squared
error that depends on the data through G = Σ [x; 1] [x; 1]ᵀ alone. G adds up over samples, so folds merge by summation.
"""

import math
import os
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from foldpress.data import Array, Dataset, Indices
from foldpress.errors import GraphError, OutputError
from foldpress.optimizer.activations import BUDGET_BYTES
from foldpress.optimizer.groups import Slot
from foldpress.optimizer.one_pass import accumulate, joined_folds
from foldpress.optimizer.patches import weight_shape, windows

MAX_FEATURES = 4608  # 512 channels under a 3×3 kernel: 170 MB in float64 for every fold
MATRIX_BYTES = 2**31  # of all matrices of all folds; more of them lie in a file
# Places of a feature map are much alike: these many of each sample, drawn at random, say what all of them would.
PLACES = 64


@dataclass(frozen=True, eq=False)
class GramStatistics:
    """For every layer, by name: G of each fold of each repeat, [repeats, folds, D + 1, D + 1].

    Features are ordered as the layer's weight is flattened; the last one is the constant 1 that carries the bias. A grouped
    convolution has a matrix for each group, [repeats, folds, groups, D + 1, D + 1].
    """

    grams: dict[str, NDArray[np.float64]]

    def without(self, fold: int, repeat: int = 0) -> dict[str, NDArray[np.float64]]:
        """G of each layer over every fold but one.

        Raises:
            GraphError: a layer's input overflows, or holds NaN, on calibration samples.
        """
        return self._merged(repeat, fold)

    def all(self) -> dict[str, NDArray[np.float64]]:
        """G of each layer over all folds.

        Raises:
            GraphError: a layer's input overflows, or holds NaN, on calibration samples.
        """
        return self._merged(0, None)

    def merge(self, other: "GramStatistics") -> "GramStatistics":
        """Fold by fold, G of the samples of both; layers and repeats must be the same."""
        return GramStatistics({name: joined_folds(gram, other.grams[name]) for name, gram in self.grams.items()})

    def _merged(self, repeat: int, left_out: int | None) -> dict[str, NDArray[np.float64]]:
        merged = {
            name: _sum(part for fold, part in enumerate(gram[repeat]) if fold != left_out)
            for name, gram in self.grams.items()
        }
        wrong = [name for name, total in merged.items() if not np.isfinite(total).all()]
        if wrong:
            raise GraphError(
                f"the inputs of {', '.join(wrong[:3])} overflow float32, or hold NaN, on calibration samples",
                mend="look for exploding activations, or weights that are no numbers",
            )
        return merged


class GramAccumulator:
    """Gram matrices that grow sample by sample.

    Args:
        layers: stored weights of layers in the graph that is observed.
        numbers: fold number of each sample in each repeat, [repeats, N].
        matrix_bytes: of all matrices; where they are larger, they lie in a file that the system reads and writes as need be.

    Raises:
        OutputError: there is no room for that file.
    """

    def __init__(self, layers: Sequence[Slot], numbers: Indices, matrix_bytes: int = MATRIX_BYTES) -> None:
        self._numbers = numbers
        cells = len(numbers), int(numbers.max()) + 1
        shapes = {str(slot.node.name): (*cells, *_matrix_shape(slot)) for slot in layers}
        large = sum(8 * math.prod(shape) for shape in shapes.values()) > matrix_bytes
        self._grams = {name: _zeros_in_a_file(shape) if large else np.zeros(shape) for name, shape in shapes.items()}
        self._readers = defaultdict(list)
        for slot in layers:
            self._readers[_input_name(slot)].append(slot)

    @property
    def tensors(self) -> tuple[str, ...]:
        """The layers' inputs."""
        return tuple(self._readers)

    def add(self, tensor: str, position: Indices, values: NDArray[np.float32]) -> None:
        """Take in a tensor's values, [n, …], in the samples at these positions, [n]."""
        for slot in self._readers[tensor]:
            gram = self._grams[str(slot.node.name)]
            _accumulate(gram, rows(slot, values, position), self._numbers[:, position])

    def statistics(self) -> GramStatistics:
        """The matrices of what was added."""
        return GramStatistics(self._grams)


def collect_grams(
    model: ir.Model,
    layers: Sequence[Slot],
    dataset: Dataset,
    numbers: Indices,
    *,
    budget: int = BUDGET_BYTES,
    matrix_bytes: int = MATRIX_BYTES,
) -> GramStatistics:
    """The Gram matrices of layers of a float graph, for every fold; see `accumulate`."""
    grams = GramAccumulator(layers, numbers, matrix_bytes)
    accumulate(model, [grams], dataset, numbers, label="collecting statistics", batch_bytes=budget, budget=budget)
    return grams.statistics()


@np.errstate(over="ignore", invalid="ignore")
def _sum(matrices: Iterable[NDArray[np.float64]]) -> NDArray[np.float64]:
    """One after the other: all at once would be copied first."""
    first, *rest = matrices
    total = np.array(first)
    for matrix in rest:
        total += matrix
    return total


def _zeros_in_a_file(shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Zeros in a file without a name, which goes when they go."""
    size = 8 * math.prod(shape)
    with tempfile.TemporaryFile(prefix="foldpress.") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, size)  # else a full disk would end the process in the midst of a sum
        except OSError as error:
            raise OutputError(
                f"no room for Gram matrices of {size / 1e9:.1f} GB in {tempfile.gettempdir()}: {error.strerror}",
                mend="point TMPDIR to a larger disk, or lower [folds] splits or repeats",
            ) from error
        return np.memmap(file, np.float64, "r+", shape=shape)


def features(slot: Slot) -> int:
    """How many inputs each output of a layer sums over."""
    shape = weight_shape(slot)
    return int(np.prod(shape[1:])) if slot.node.op_type == "Conv" else int(shape[slot.axis])


def has_gram(slot: Slot) -> bool:
    """Whether a layer is a plain sum over what it is given, by a weight of its own: then a Gram matrix says all of it."""
    node = slot.node
    if len(slot.value.uses()) > 1 or slot.value.dtype != ir.DataType.FLOAT:
        return False
    if node.op_type == "Gemm":
        plain = all(node.attributes.get_float(name, 1.0) == 1 for name in ("alpha", "beta"))
        return plain and slot.position == 1 and not node.attributes.get_int("transA", 0)
    return slot.position == 1 and (
        node.op_type == "Conv" or (node.op_type == "MatMul" and len(weight_shape(slot)) == 2)
    )


def _matrix_shape(slot: Slot) -> tuple[int, ...]:
    attributes, size = slot.node.attributes, features(slot) + 1
    groups = attributes["group"].as_int() if slot.node.op_type == "Conv" and "group" in attributes else 1
    return (size, size) if groups == 1 else (groups, size, size)


def rows(slot: Slot, activation: Array, position: Indices, places: int = PLACES) -> NDArray[np.float32]:
    """What a layer sums over, at some of the places where it does: [n, places, D]; with groups, [n, places, groups, D].

    `position` seeds the draw of at most `places` places for each sample, so that it does not depend on the other samples of
    the batch.
    """
    if slot.node.op_type == "Conv":
        seen, spatial = windows(slot, activation), activation.ndim - 2
    else:
        seen, spatial = _flat(activation, position), 1
    drawn = _at_places(seen, spatial, position, places)
    return drawn.reshape(len(position), drawn.shape[1], *_matrix_shape(slot)[:-2], features(slot))


def outputs(slot: Slot, activation: Array, position: Indices, places: int = PLACES) -> NDArray[np.float32]:
    """A layer's outputs, or what has their shape, at the places of `rows`: [n, places, M]."""
    if slot.node.op_type == "Conv":
        return _at_places(np.moveaxis(activation, 1, -1), activation.ndim - 2, position, places)
    return _at_places(_flat(activation, position), 1, position, places)


def _flat(activation: Array, position: Indices) -> NDArray[np.float32]:
    return activation.reshape(len(position), -1, activation.shape[-1])  # the samples' axis may not be the first


def _at_places(values: NDArray[np.float32], axes: int, position: Indices, places: int) -> NDArray[np.float32]:
    """Entries of [n, places…, …], with `axes` axes of places, drawn for each sample: [n, places, …]."""
    sizes = values.shape[1 : 1 + axes]
    drawn = np.stack([_draw(int(np.prod(sizes)), int(seed), places) for seed in position])
    found: NDArray[np.float32] = values[(np.arange(len(position))[:, None], *np.unravel_index(drawn, sizes))]
    return found


def _draw(count: int, seed: int, places: int) -> Indices:
    if count <= places:
        return np.arange(count)
    return np.random.default_rng(seed).choice(count, places, replace=False)


@np.errstate(over="ignore", invalid="ignore")  # whoever asks for what overflowed is refused
def _accumulate(gram: NDArray[np.float64], by_sample: NDArray[np.float32], numbers: Indices) -> None:
    """Add the samples' outer products, [n, places, …, D], to the folds that they belong to."""
    for repeat, fold_of in enumerate(numbers):
        for fold in np.unique(fold_of):
            flat = by_sample[fold_of == fold].reshape(-1, *by_sample.shape[2:])
            chosen = np.ascontiguousarray(np.moveaxis(flat, 0, -2))
            # float32 products of a few thousand rows, summed in float64: the sums of many batches keep their digits
            gram[repeat, fold, ..., :-1, :-1] += chosen.swapaxes(-1, -2) @ chosen
            total = chosen.sum(-2, dtype=np.float64)
            gram[repeat, fold, ..., -1, :-1] += total
            gram[repeat, fold, ..., :-1, -1] += total
            gram[repeat, fold, ..., -1, -1] += chosen.shape[-2]


def _input_name(slot: Slot) -> str:
    value = slot.node.inputs[0]
    assert value is not None  # noqa: S101  # a layer without an input is no layer
    return str(value.name)
