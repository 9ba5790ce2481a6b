"""What a layer sums over at every place: for a convolution the patch under its kernel, for a matrix the last axis."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from foldpress.data import Array
from foldpress.optimizer.groups import Slot

Rows = NDArray[np.float32]


@dataclass(frozen=True)
class _Windows:
    """Where the kernel of a convolution reads in maps of one size; everything by spatial axis."""

    kernel: tuple[int, ...]
    strides: list[int]
    dilations: list[int]
    pads: list[tuple[int, int]]

    @property
    def spans(self) -> list[int]:
        """From the first tap to the last."""
        return [(size - 1) * step + 1 for size, step in zip(self.kernel, self.dilations, strict=True)]


def windows(slot: Slot, activation: Array) -> Rows:
    """The patch under the kernel at every place: a view [n, places…, C, taps…], in the order of the flattened weight.

    `activation` may have fewer channels than the layer.
    """
    spatial, found = activation.ndim - 2, _windows(slot, activation.shape[2:])
    padded = np.pad(activation, [(0, 0), (0, 0), *found.pads])
    views = sliding_window_view(padded, found.spans, axis=tuple(range(2, 2 + spatial)))
    places = tuple(slice(None, None, step) for step in found.strides)
    taps = tuple(slice(None, None, step) for step in found.dilations)
    order = (0, *range(2, 2 + spatial), 1, *range(2 + spatial, 2 + 2 * spatial))
    return views[(slice(None), slice(None), *places, *taps)].transpose(order)


def columns(slot: Slot, activation: Array) -> Rows:
    """All that a layer of one group sums over, [n · places, D]; `activation` may have fewer channels than the layer."""
    if slot.node.op_type != "Conv":
        return activation.reshape(-1, activation.shape[-1])
    seen = windows(slot, activation)
    return np.ascontiguousarray(seen).reshape(-1, int(np.prod(seen.shape[activation.ndim - 1 :])))


def spread(slot: Slot, rows: Rows, shape: Sequence[int]) -> Rows:
    """The transpose of `columns`, as a linear map: each number is added to where it was read, in an activation of `shape`."""
    if slot.node.op_type != "Conv":
        return rows.reshape(tuple(shape))
    count, channels, *sizes = shape
    found = _windows(slot, sizes)
    padded = np.zeros(
        (count, *(size + sum(pad) for size, pad in zip(sizes, found.pads, strict=True)), channels), rows.dtype
    )
    lengths = [
        (size - span) // stride + 1
        for size, span, stride in zip(padded.shape[1:-1], found.spans, found.strides, strict=True)
    ]
    patches = rows.reshape(count, *lengths, channels, *found.kernel)
    for tap in np.ndindex(*found.kernel):
        starts = [number * step for number, step in zip(tap, found.dilations, strict=True)]
        ends = [first + (n - 1) * step + 1 for first, n, step in zip(starts, lengths, found.strides, strict=True)]
        read = tuple(map(slice, starts, ends, found.strides))
        padded[(slice(None), *read)] += patches[(..., *tap)]
    inside = tuple(slice(before, before + size) for (before, _), size in zip(found.pads, sizes, strict=True))
    return np.moveaxis(padded[(slice(None), *inside)], -1, 1)


def weight_shape(slot: Slot) -> tuple[int, ...]:
    """The shape of a layer's stored weight."""
    shape = slot.value.shape
    return tuple(shape.numpy()) if shape is not None else ()


def _windows(slot: Slot, sizes: Sequence[int]) -> _Windows:
    attributes, kernel = slot.node.attributes, weight_shape(slot)[2:]
    strides = list(attributes["strides"].as_ints()) if "strides" in attributes else [1] * len(kernel)
    dilations = list(attributes["dilations"].as_ints()) if "dilations" in attributes else [1] * len(kernel)
    return _Windows(kernel, strides, dilations, _pads(slot.node, sizes, kernel, strides, dilations))


def _pads(
    node: ir.Node, sizes: Sequence[int], kernel: tuple[int, ...], strides: list[int], dilations: list[int]
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
