"""Write weights of few values as a codebook and places in it: the file becomes small, what runs stays the same.

onnxruntime computes the weights as it loads the file: no node of it is left in the graph that runs. Measured with 1.31 on
LeNet-300-100: the same kernels, the same time, and a file of 134 kB instead of 1.07 MB with 16 values. Rows of floats with a
codebook each would not even pack well, for it takes more to say of which row a value is than which of its values.
"""

import math
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from foldpress.codebook_weights import Codebooks, find_codebooks
from foldpress.errors import RequestError
from foldpress.graph import add_initializer, initializer
from foldpress.optimizer.layers import Layer, weighted_layers
from foldpress.optimizer.nbit_weights import raise_opset
from foldpress.optimizer.passes import LogEntry, PassResult

# By bits: the type of a place, and the first opset and file version whose Cast takes it.
_TYPES = {
    2: (ir.DataType.UINT2, 25, 13),
    4: (ir.DataType.UINT4, 21, 10),
    8: (ir.DataType.UINT8, 13, 7),
}
_PLACE = ir.DataType.INT32  # as Gather takes it
_NODES_BYTES = 100  # of names and attributes of what computes one weight


@dataclass(frozen=True)
class CodebookFile:
    """Store every layer's weight as places in a codebook where that takes less; outputs stay the same, bit for bit."""

    name: str = "codebook-file"

    def __call__(self, model: ir.Model) -> PassResult:
        """Apply it; the log says the bytes of each weight, or why it stays as it is."""
        layers = weighted_layers(model)[0]
        found = {layer: smallest for layer in layers if (smallest := _smallest(model, layer)) is not None}
        narrowest = _raise(model, min((one.bits for one in found.values()), default=8))
        log = [self._store(model, layer, found.get(layer), narrowest) for layer in layers]
        return PassResult(model, tuple(log))

    def _store(self, model: ir.Model, layer: Layer, found: "_Stored | None", narrowest: int) -> LogEntry:
        before = layer.weight.const_value.nbytes  # type: ignore[union-attr]  # see weighted_layers
        if found is None or found.bytes(narrowest) >= before:
            why = "it has too many values" if found is None else "a codebook would take more than it saves"
            return LogEntry(self.name, layer.name, "declined", why)
        _replace(model, layer.weight, found, max(found.bits, narrowest))
        values = f"{found.books.values.shape[1]} values{' by channel' if found.by_channel else ''}"
        return LogEntry(self.name, layer.name, "done", f"{values}: {before:,} to {found.bytes(narrowest):,} bytes")


@dataclass(frozen=True, eq=False)
class _Stored:
    """A weight as codebooks, those of the tensor or those along the axis of its channels."""

    books: Codebooks
    axis: int

    @property
    def by_channel(self) -> bool:
        return len(self.books.values) > 1

    @property
    def bits(self) -> int:
        return next(bits for bits in _TYPES if 2**bits >= self.books.values.shape[1])

    def bytes(self, narrowest: int = 2) -> int:
        starts = len(self.books.values) * _PLACE.itemsize if self.by_channel else 0
        places = self.books.places.size * max(self.bits, narrowest) / 8
        return math.ceil(places) + self.books.values.nbytes + int(starts) + _NODES_BYTES


def _smallest(model: ir.Model, layer: Layer) -> _Stored | None:
    """One codebook, or one for each channel."""
    stored = initializer(model, layer.weight)
    assert stored is not None  # noqa: S101  # see weighted_layers
    axis = stored.ndim - 1 if layer.transposed else 0
    rows = np.moveaxis(stored, axis, 0).reshape(stored.shape[axis], -1)
    books = [find_codebooks(part) for part in (rows.reshape(1, -1), rows)]
    return min((_Stored(one, axis) for one in books if one is not None), key=_Stored.bytes, default=None)


def _raise(model: ir.Model, bits: int) -> int:
    """Raise the graph to an opset with places of so many bits; the fewest bits that it then has."""
    for width, (_, opset, version) in _TYPES.items():
        if width >= bits:
            try:
                raise_opset(model, opset, version)
            except RequestError:
                continue  # wider places need no such opset
            return width
    raise RequestError("the graph is too old for a codebook", available="opset 13 and later", mend="export it again")


def _replace(model: ir.Model, weight: ir.Value, found: _Stored, bits: int) -> None:
    """Put codebook and places in a weight's place."""
    name, shape, books = str(weight.name), _sizes(weight), found.books
    channels_first = (shape[found.axis], *shape[: found.axis], *shape[found.axis + 1 :])
    places = np.moveaxis(books.places.reshape(channels_first), 0, found.axis).astype(_TYPES[bits][0].numpy())
    nodes = [
        ir.node("Cast", [add_initializer(model, f"{name}.places", places)], {"to": _PLACE.value}, name=f"{name}.cast")
    ]
    if found.by_channel:
        starts = np.arange(0, books.values.size, books.values.shape[1], dtype=np.int32)
        starts = starts.reshape([-1 if axis == found.axis else 1 for axis in range(len(shape))])
        added = add_initializer(model, f"{name}.starts", starts)
        nodes.append(ir.node("Add", [nodes[-1].outputs[0], added], name=f"{name}.add"))
    for node in nodes:
        node.outputs[0].type, node.outputs[0].shape = ir.TensorType(_PLACE), weight.shape
    codebook = add_initializer(model, f"{name}.codebook", books.values.ravel())
    nodes.append(ir.node("Gather", [codebook, nodes[-1].outputs[0]], name=f"{name}.gather"))
    made = nodes[-1].outputs[0]
    made.type, made.shape = weight.type, weight.shape
    weight.replace_all_uses_with(made)
    del model.graph.initializers[name]
    model.graph.insert_before(model.graph[0], nodes)


def _sizes(weight: ir.Value) -> tuple[int, ...]:
    assert weight.shape is not None  # noqa: S101  # stored tensors have shapes
    return tuple(weight.shape.numpy())
