"""Gram matrices of layer inputs, by fold, in one pass: all that least-squares repair needs to know of the data.

For a layer y = W x + b with inputs x (for a convolution, the patch under the kernel), any change of W and b costs a squared
error that depends on the data through G = Σ [x; 1] [x; 1]ᵀ alone. G adds up over samples, so folds merge by summation.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from foldpress.data import Array, Dataset, Indices
from foldpress.graph import copy_graph
from foldpress.optimizer.groups import Slot
from foldpress.progress import track
from foldpress.runtime import open_session

MAX_FEATURES = 4608  # 512 channels under a 3×3 kernel: 170 MB in float64 for every fold
_BATCH = 64
# Places of a feature map are much alike: these many of each sample, drawn at random, say what all of them would.
_PLACES = 64


@dataclass(frozen=True, eq=False)
class GramStatistics:
    """For every layer, by name: G of each fold of each repeat, [repeats, folds, D + 1, D + 1].

    Features are ordered as the layer's weight is flattened; the last one is the constant 1 that carries the bias.
    """

    grams: dict[str, NDArray[np.float64]]

    def without(self, fold: int, repeat: int = 0) -> dict[str, NDArray[np.float64]]:
        """G of each layer over every fold but one."""
        return {name: np.delete(gram[repeat], fold, axis=0).sum(0) for name, gram in self.grams.items()}

    def all(self) -> dict[str, NDArray[np.float64]]:
        """G of each layer over all folds."""
        return {name: gram[0].sum(0) for name, gram in self.grams.items()}


def collect_grams(model: ir.Model, layers: Sequence[Slot], dataset: Dataset, numbers: Indices) -> GramStatistics:
    """One pass over the data.

    Args:
        model: a float graph.
        layers: consumers of channel groups in that graph.
        dataset: calibration samples.
        numbers: fold number of each sample in each repeat, [repeats, N].
    """
    session = open_session(_with_outputs(model, layers))
    folds = int(numbers.max()) + 1
    sizes = {str(slot.node.name): features(slot) for slot in layers}
    grams = {name: np.zeros((len(numbers), folds, size + 1, size + 1)) for name, size in sizes.items()}
    # Fold by fold, so that most batches add to one fold only: a sum of outer products costs D² however few they are.
    order = np.argsort(numbers[0], kind="stable")
    starts = range(0, len(dataset), _BATCH)
    for start in track(starts, "collecting statistics", len(starts)):
        position = order[start : start + _BATCH]
        activations = session.run(None, dataset.batch(position))[-len(layers) :]
        for slot, activation in zip(layers, activations, strict=True):
            _accumulate(grams[str(slot.node.name)], rows(slot, activation, position), numbers[:, position])
    return GramStatistics(grams)


def features(slot: Slot) -> int:
    """How many inputs each output of a layer sums over."""
    shape = _weight_shape(slot)
    return int(np.prod(shape[1:])) if slot.node.op_type == "Conv" else int(shape[slot.axis])


def rows(slot: Slot, activation: Array, position: Indices) -> NDArray[np.float32]:
    """What a layer sums over, at some of the places where it does: [n, places, D].

    `position` seeds the draw of places for each sample, so that it does not depend on the other samples of the batch.
    """
    if slot.node.op_type == "Conv":
        windows = _windows(slot, activation)
        spatial = activation.ndim - 2
        sizes = windows.shape[1 : 1 + spatial]
    else:
        windows = activation.reshape(len(activation), -1, activation.shape[-1])
        sizes = windows.shape[1:2]
    count = int(np.prod(sizes))
    drawn = [_draw(count, int(seed)) for seed in position]
    places = np.unravel_index(np.stack(drawn), sizes)
    drawn_rows: NDArray[np.float32] = windows[(np.arange(len(activation))[:, None], *places)]
    return drawn_rows.reshape(len(activation), -1, features(slot))


def _draw(count: int, seed: int) -> Indices:
    if count <= _PLACES:
        return np.arange(count)
    return np.random.default_rng(seed).choice(count, _PLACES, replace=False)


def _windows(slot: Slot, activation: Array) -> NDArray[np.float32]:
    """The patch under the kernel at every place: a view [n, places…, C, taps…], in the order of the flattened weight."""
    spatial = activation.ndim - 2
    kernel = _weight_shape(slot)[2:]
    attributes = slot.node.attributes
    strides = list(attributes["strides"].as_ints()) if "strides" in attributes else [1] * spatial
    dilations = list(attributes["dilations"].as_ints()) if "dilations" in attributes else [1] * spatial
    padded = np.pad(activation, [(0, 0), (0, 0), *_pads(slot.node, activation.shape[2:], kernel, strides, dilations)])
    spans = [(size - 1) * step + 1 for size, step in zip(kernel, dilations, strict=True)]
    windows = sliding_window_view(padded, spans, axis=tuple(range(2, 2 + spatial)))
    places = tuple(slice(None, None, step) for step in strides)
    taps = tuple(slice(None, None, step) for step in dilations)
    order = (0, *range(2, 2 + spatial), 1, *range(2 + spatial, 2 + 2 * spatial))
    return windows[(slice(None), slice(None), *places, *taps)].transpose(order)


def _pads(
    node: ir.Node, sizes: tuple[int, ...], kernel: tuple[int, ...], strides: list[int], dilations: list[int]
) -> list[tuple[int, int]]:
    automatic = node.attributes["auto_pad"].as_string() if "auto_pad" in node.attributes else "NOTSET"
    if automatic.startswith("SAME"):
        totals = [
            max(0, (-(-size // stride) - 1) * stride + (taps - 1) * step + 1 - size)
            for size, taps, stride, step in zip(sizes, kernel, strides, dilations, strict=True)
        ]
        return [(t // 2, t - t // 2) if automatic == "SAME_UPPER" else (t - t // 2, t // 2) for t in totals]
    pads = list(node.attributes["pads"].as_ints()) if "pads" in node.attributes else [0] * (2 * len(sizes))
    return list(zip(pads[: len(sizes)], pads[len(sizes) :], strict=True))


def _accumulate(gram: NDArray[np.float64], by_sample: NDArray[np.float32], numbers: Indices) -> None:
    """Add the samples' outer products, [n, places, D], to the folds that they belong to."""
    for repeat, fold_of in enumerate(numbers):
        for fold in np.unique(fold_of):
            chosen = by_sample[fold_of == fold].reshape(-1, by_sample.shape[-1])
            # float32 products of a few thousand rows, summed in float64: the sums of many batches keep their digits
            gram[repeat, fold, :-1, :-1] += chosen.T @ chosen
            total = chosen.sum(0, dtype=np.float64)
            gram[repeat, fold, -1, :-1] += total
            gram[repeat, fold, :-1, -1] += total
            gram[repeat, fold, -1, -1] += len(chosen)


def _with_outputs(model: ir.Model, layers: Sequence[Slot]) -> ir.Model:
    """A copy of the graph that also gives the input of every layer."""
    model = copy_graph(model)
    named = {node.name: node for node in model.graph}
    for slot in layers:
        value = named[slot.node.name].inputs[0]
        # A node of its own: two layers may share an input, and a graph's outputs must differ in name.
        copied = ir.node("Identity", [value])
        copied.outputs[0].type = ir.TensorType(ir.DataType.FLOAT)
        model.graph.append(copied)
        model.graph.outputs.append(copied.outputs[0])
    return model


def _weight_shape(slot: Slot) -> tuple[int, ...]:
    shape = slot.value.shape
    return tuple(shape.numpy()) if shape is not None else ()
