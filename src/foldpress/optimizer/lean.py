"""Make the file small: what a reader can work out again, or never looks at, is not stored.

A small int8 graph is mostly names: every scale and zero point carries a long one, twice, and so does every intermediate
tensor with its shape. None of it is needed to compute. What users refer to keeps its name: inputs, outputs and layers.

Shapes stay where onnxruntime could not infer them as well: it fuses LayerNormalization and Split by them, and a sum in
another order is another result.

Zero points that are zero stay, but for those of int32 biases. Measured on ResNet-20 with onnxruntime 1.31: without those of
weights, Gemm runs in float; without those of activations, so do Gemm and Slice. Shared, they cost a few bytes each.
"""

from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count, product
from string import ascii_letters

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import ClearMetadataAndDocStringPass, ShapeInferencePass

from foldpress.external import light_proto
from foldpress.graph import copy_graph, initializer
from foldpress.macs import MATRIX_OPERATORS
from foldpress.optimizer.passes import LogEntry, Pass, PassResult
from foldpress.stored_weights import stored_weight

_QDQ = ("QuantizeLinear", "DequantizeLinear")
# Where onnx-ir keeps the quantization annotations of a tensor: they refer to others by name, and nothing here reads them.
_ANNOTATION = "quant_parameter_tensor_names"
# Shapes are inferred anew at most this often; a graph that loses them in longer chains keeps a few more than it must.
_ROUNDS = 32


@dataclass(frozen=True)
class LeanFile:
    """Drop shapes, notes, long names and needless zero points; share equal scales. Outputs stay the same, bit for bit."""

    name: str = "lean-file"

    def __call__(self, model: ir.Model) -> PassResult:
        """Apply it; the log says how many bytes were saved, and which zero points had to stay."""
        before = _file_bytes(model)
        dropped, kept = _drop_zero_points(model)
        shared = _share_constants(model)
        _drop_notes(model)
        remembered = _forget_shapes(model)
        _shorten_names(model)
        after = _file_bytes(model)
        return PassResult(model, tuple(self._log(before, after, dropped, kept, shared, remembered)))

    def _log(
        self, before: int, after: int, dropped: int, kept: int, shared: int, remembered: int
    ) -> Iterator[LogEntry]:
        what = "no shapes, notes and long names"
        what += f"; {dropped} zero points of biases dropped" if dropped else ""
        what += f"; {shared} equal constants shared" if shared else ""
        size = f"{before - after:,} bytes saved, {before:,} to {after:,}"
        yield LogEntry(self.name, "graph", "done" if after < before else "declined", f"{size}: {what}")
        if kept:
            why = "onnxruntime needs them to run the operators around them in integers"
            yield LogEntry(self.name, f"{kept} zero points of 0", "declined", why)
        if remembered:
            why = "they cannot be inferred again, and onnxruntime fuses by them"
            yield LogEntry(self.name, f"{remembered} shapes", "declined", why)


def lean(*, keep_metadata: bool = False) -> Sequence[Pass]:
    """What is applied last to every graph that is written; nothing where names, shapes and notes are to be kept."""
    return [] if keep_metadata else [LeanFile()]


def _file_bytes(model: ir.Model) -> int:
    """Bytes of the file, or of the graph and the file of its weights."""
    proto, weights = light_proto(model)
    return int(proto.ByteSize()) + sum(array.nbytes for array in weights.values())


def _drop_zero_points(model: ir.Model) -> tuple[int, int]:
    """Drop what stands for zero where nothing depends on it: (dropped, kept).

    int32 has no zero point by ONNX's own words: "zero point is usually not used in the case of int32".
    """
    dropped = kept = 0
    for node in model.graph.all_nodes():
        point = node.inputs[2] if node.op_type in _QDQ and not node.domain and len(node.inputs) > 2 else None
        array = initializer(model, point)
        if array is None or point is None or np.any(array):
            continue
        if array.dtype != np.int32 or node.op_type != "DequantizeLinear":
            kept += 1
            continue
        node.resize_inputs(2)
        dropped += 1
        if not point.uses() and not _is_interface(point):
            del model.graph.initializers[str(point.name)]
    return dropped, kept


def _share_constants(model: ir.Model) -> int:
    """Let equal scales, zero points and shapes be one tensor; how many went. Weights are left: they are counted."""
    first: dict[tuple[object, ...], ir.Value] = {}
    gone = 0
    for name, value in list(model.graph.initializers.items()):
        tensor = value.const_value
        if tensor is None or _is_interface(value) or not _is_no_weight(value):
            continue
        key = (tensor.dtype, tuple(tensor.shape.numpy()), tensor.tobytes())
        if first.setdefault(key, value) is not value:
            value.replace_all_uses_with(first[key])
            del model.graph.initializers[name]
            gone += 1
    return gone


def _is_no_weight(value: ir.Value) -> bool:
    """Whether it is a scale or zero point and nothing else, or holds positions and sizes."""
    uses = value.uses()
    scale = bool(uses) and all(use.node.op_type in _QDQ and use.idx in (1, 2) for use in uses)
    return scale or value.dtype == ir.DataType.INT64


def _drop_notes(model: ir.Model) -> None:
    ClearMetadataAndDocStringPass()(model)
    model.metadata_props.clear()
    model.doc_string = None
    for graph in model.graphs():
        graph.metadata_props.clear()
        graph.doc_string = None
        for value in (*graph.inputs, *graph.outputs, *_inside([graph])):
            value.metadata_props.clear()
            value.doc_string = None
            value.meta.pop(_ANNOTATION, None)


def _forget_shapes(model: ir.Model) -> int:
    """Drop type and shape of every tensor inside the graph that inference finds again; how many it does not."""
    inside = list(_inside(model.graphs()))
    known = [(value.type, value.shape) for value in inside]
    for value in inside:
        value.type = value.shape = None
    stored: set[int] = set()
    for attempt in range(_ROUNDS):
        bare = ShapeInferencePass(data_prop=False)(copy_graph(model)).model  # onnxruntime propagates no data either
        found = list(_inside(bare.graphs()))
        lost = {
            id(new): position
            for position, (new, old) in enumerate(zip(found, known, strict=True))
            if position not in stored and not new.is_initializer() and not _says(new, *old)
        }
        # What comes after a lost shape may be found once that one is there; in the last round all of them are put back.
        first = [place for place in lost.values() if attempt == _ROUNDS - 1 or not _depends(found[place], lost)]
        for position in first:
            inside[position].type, inside[position].shape = known[position]
        stored.update(first)
        if not lost:
            break
    return len(stored)


def _depends(value: ir.Value, lost: Container[int]) -> bool:
    producer = value.producer()
    return producer is not None and any(id(source) in lost for source in producer.inputs)


def _says(found: ir.Value, kind: ir.TypeProtocol | None, shape: ir.Shape | None) -> bool:
    """Whether what was found says all that was known, names of free sizes included."""
    if kind is not None and found.type != kind:
        return False
    if shape is None:
        return True
    if found.shape is None or len(found.shape) != len(shape):
        return False
    return all(old in (new, ir.SymbolicDim(None)) for new, old in zip(found.shape, shape, strict=True))


def _shorten_names(model: ir.Model) -> None:
    """Number tensors by letters in the order of the graph; unname nodes that are no layer."""
    for node in model.graph.all_nodes():
        # A layer without a name goes by that of its output, which is about to change.
        node.name = (node.name or node.outputs[0].name) if _is_layer(model, node) else None
    taken = {value.name for graph in model.graphs() for value in (*graph.inputs, *graph.outputs)}
    names = (name for name in _letters() if name not in taken)
    inside = [value for value in _inside(model.graphs()) if value.name != ""]  # "": an output left out
    stored = [(graph, list(graph.initializers.values())) for graph in model.graphs()]
    for graph, _ in stored:  # a short name may still belong to another tensor: none is registered while names change
        graph.initializers.clear()
    for value, name in zip(inside, names, strict=False):  # names never end
        value.name = name
    for graph, values in stored:
        for value in values:
            graph.register_initializer(value)


def _letters() -> Iterator[str]:
    """The names a, b, …, Z, aa, ab and so on."""
    return ("".join(letters) for length in count(1) for letters in product(ascii_letters, repeat=length))


def _is_layer(model: ir.Model, node: ir.Node) -> bool:
    """Whether reports may name it: it multiplies matrices, or reads a stored one."""
    if node.op_type in MATRIX_OPERATORS:
        return True
    tensors = (found.const_value for value in node.inputs if (found := stored_weight(model, value)) is not None)
    return node.op_type not in _QDQ and any(tensor is not None and len(tensor.shape) > 1 for tensor in tensors)


def _inside(graphs: Iterable[ir.Graph]) -> Iterator[ir.Value]:
    """Stored and computed tensors that no graph takes or gives, in the order of the graph."""
    for graph in graphs:
        computed = (value for node in graph for value in node.outputs)
        yield from (value for value in (*graph.initializers.values(), *computed) if not _is_interface(value))


def _is_interface(value: ir.Value) -> bool:
    return value.is_graph_input() or value.is_graph_output()
