"""Graphs without their heavy weights: protobuf holds no message above 2 GiB, and nothing that looks at a graph needs them.

A heavy weight in a file beside the graph is mapped into memory, not read: whoever needs the numbers of one layer causes no
more than that layer to be read, and a session gets the very same memory.
"""

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray
from onnx.external_data_helper import load_external_data_for_tensor, uses_external_data

from foldpress.errors import GraphError

# Lighter ones stay in the graph: shapes are inferred from them, and a thousand of them are still but one GiB.
_HEAVY_BYTES = 2**20
_NUMERIC = "biuf"  # kinds of NumPy's own types; what is packed (int4) stays in the graph


def light_proto(model: ir.Model) -> tuple[onnx.ModelProto, dict[str, NDArray[np.generic]]]:
    """The graph with references in place of its heavy weights, and these weights by name.

    The references name no file: whoever runs the graph is handed the weights with it.
    """
    weights = {}

    def reference(name: str, tensor: ir.TensorProtocol) -> ir.TensorProtocol:
        if not is_heavy(tensor):
            return tensor
        weights[name] = np.ascontiguousarray(tensor.numpy())
        shape = ir.Shape(tensor.shape.numpy())
        return ir.ExternalTensor("weights", None, None, tensor.dtype, shape=shape, name=name)

    with _standing_in(model, reference):
        return ir.to_proto(model), weights


def graph_digest(model: ir.Model) -> str:
    """SHA-256 of a graph and its weights."""
    proto, weights = light_proto(model)
    digest = hashlib.sha256(proto.SerializeToString(deterministic=True))
    for array in weights.values():
        digest.update(array.data)
    return digest.hexdigest()


def in_memory(model: ir.Model) -> AbstractContextManager[None]:
    """While it lasts, the graph refers to no file."""
    return _standing_in(model, _read)


def read_weights(model: ir.Model) -> None:
    """Read into memory what a graph refers to in files, which may then go."""
    for name, value in model.graph.initializers.items():
        if value.const_value is not None:
            value.const_value = _read(name, value.const_value)


@contextmanager
def _standing_in(model: ir.Model, stand_in: Callable[[str, ir.TensorProtocol], ir.TensorProtocol]) -> Iterator[None]:
    """Put something in the place of weights for a while; a copy of the graph would not do, since it names unnamed nodes."""
    stored = {value: value.const_value for value in model.graph.initializers.values()}
    try:
        for value, tensor in stored.items():
            if tensor is not None:
                value.const_value = stand_in(str(value.name), tensor)
        yield
    finally:
        for value, tensor in stored.items():
            value.const_value = tensor


def _read(name: str, tensor: ir.TensorProtocol) -> ir.TensorProtocol:
    if not isinstance(tensor, ir.ExternalTensor):
        return tensor
    return ir.Tensor(np.array(tensor.numpy()), dtype=tensor.dtype, name=name)


def is_heavy(tensor: ir.TensorProtocol) -> bool:
    """Whether a weight is left out of a light graph."""
    return tensor.dtype.numpy().kind in _NUMERIC and tensor.nbytes >= _HEAVY_BYTES


def read_light(proto: onnx.ModelProto, folder: Path) -> None:
    """Read what lies in other files into the graph, but for its heavy weights."""
    initializers = (one for one in proto.graph.initializer if not is_heavy(ir.serde.deserialize_tensor(one)))
    for tensor in (*initializers, *_deeper(proto)):
        if uses_external_data(tensor):
            load_external_data_for_tensor(tensor, str(folder))


def check_contained(path: Path, tensor: onnx.TensorProto) -> None:
    """Refuse a tensor that lies anywhere but in the folder of the graph at `path`, in a plain file, and inside that file.

    Raises:
        GraphError: says which tensor.
    """
    if tensor.data_location != onnx.TensorProto.EXTERNAL:
        return
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = Path(entries.get("location", ""))
    target = path.parent / location
    if location.is_absolute() or ".." in location.parts or not location.name:
        raise GraphError(f"{path}: weight {tensor.name} points outside the graph's folder ({location})")
    if not target.is_file() or target.resolve() != path.parent.resolve() / location or target.stat().st_nlink > 1:
        raise GraphError(f"{path}: the weights of {tensor.name} should be in {target}, a plain file; it is not one")
    try:
        offset, length = int(entries.get("offset", 0)), int(entries.get("length", 0))
        length = max(length, math.prod(tensor.dims) * ir.DataType(tensor.data_type).bitwidth // 8)
    except (ValueError, TypeError) as error:
        raise GraphError(f"{path}: weight {tensor.name} is badly described: {error}") from error
    if offset < 0 or length < 0 or offset + length > target.stat().st_size:
        raise GraphError(f"{path}: weight {tensor.name} lies beyond the end of {target}", mend="copy both files again")


def stored_tensors(proto: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Every tensor that a file stores: weights, and those of its nodes, of the graphs inside them, and of functions."""
    yield from proto.graph.initializer
    yield from _deeper(proto)


def _deeper(proto: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    for sparse in proto.graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _node_tensors(proto.graph.node)
    for function in proto.functions:
        yield from _node_tensors(function.node)


def _node_tensors(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.TensorProto]:
    for attribute in (attribute for node in nodes for attribute in node.attribute):
        yield from (attribute.t, *attribute.tensors)
        for inner in (attribute.g, *attribute.graphs):
            yield from inner.initializer
            for sparse in inner.sparse_initializer:
                yield from (sparse.values, sparse.indices)
            yield from _node_tensors(inner.node)
