"""Reading and writing ONNX files: what a stranger's file may do is checked before anything reads it."""

import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

import google.protobuf.message
import numpy as np
import onnx
import onnx_ir as ir

from foldpress.data import InputSpec
from foldpress.errors import GraphError
from foldpress.external import check_contained, in_memory, read_light, stored_tensors
from foldpress.files import replacing, sha256

# protobuf cannot hold more than 2 GiB in one message; what is larger keeps its weights in a file beside it.
_SINGLE_FILE_BYTES = 2**31 - 2**24
_DIGITS = 16  # of a digest, in the name of a file of weights
# What checking and reading raise; where bytes of a name are damaged, it is the message itself that cannot be decoded.
_INVALID = (
    onnx.checker.ValidationError,
    onnx.shape_inference.InferenceError,
    ir.serde.SerdeError,
    UnicodeDecodeError,
)


def load_graph(path: Path) -> ir.Model:
    """Read an ONNX file after checking that it is whole and refers to nothing outside its folder.

    Heavy weights that lie in a file of their own stay there until they are used.

    Raises:
        GraphError: missing, damaged, not ONNX, or with unsafe external data.
    """
    path = Path(path)
    proto = _read_proto(path)
    if not proto.graph.node and not proto.graph.output:
        raise GraphError(f"{path} holds no graph: it is empty or cut short", mend="export or download it again")
    for value in (*proto.graph.input, *proto.graph.output):
        if not value.type.HasField("tensor_type"):
            raise GraphError(
                f"{path}: {value.name} is no tensor but a {value.type.WhichOneof('value') or 'value of no type'}",
                mend="export it with tensors only; for scikit-learn, options={'zipmap': False}",
            )
    for tensor in stored_tensors(proto):
        check_contained(path, tensor)
    try:
        onnx.checker.check_model(str(path))
        _check_text(path, proto)
        read_light(proto, path.parent)
        model: ir.Model = ir.from_proto(proto)
    except _INVALID as error:
        raise GraphError(f"{path} is not a valid ONNX graph: {_first_line(error)}", mend="export it again") from error
    ir.external_data.set_base_dir(model.graph, path.parent)
    _trust_tensors(model)
    return model


def save_graph(model: ir.Model, path: Path) -> None:
    """Write a graph atomically; weights go to a file beside it only when one file cannot hold them.

    A reader finds the old graph with its weights or the new one with its own, whenever writing ends.

    Raises:
        OutputError: the folder cannot be written to.
    """
    with replacing(path) as draft:
        write_graph(model, draft)
    _remove_data(path, keep=graph_files(path))


def write_graph(model: ir.Model, path: Path) -> None:
    """Write a graph where nobody else reads, as `save_graph` does elsewhere.

    A file of weights is named after its own content, so no two of them ever share a name, and what says that a graph is
    unchanged (its digest) says so of its weights.
    """
    if weight_bytes(model) <= _SINGLE_FILE_BYTES:
        with in_memory(model):
            ir.save(model, path)
        return
    data = path.with_name(f"{path.name}.data")
    ir.save(model, path, external_data=data.name)
    named = data.rename(path.with_name(f"{path.name}.{sha256(data)[:_DIGITS]}.data"))
    proto = onnx.load(path, load_external_data=False)
    for entry in (entry for tensor in stored_tensors(proto) for entry in tensor.external_data):
        if entry.key == "location":
            entry.value = named.name
    path.write_bytes(proto.SerializeToString(deterministic=True))


def remove_graph(path: Path) -> None:
    """Remove a graph that `save_graph` wrote, if there is one, with its weights."""
    path.unlink(missing_ok=True)
    _remove_data(path, keep=[])


def graph_files(path: Path) -> list[Path]:
    """A graph's file, then those beside it that hold its weights.

    Raises:
        GraphError: missing, or not ONNX.
    """
    entries = (entry for tensor in stored_tensors(_read_proto(path)) for entry in tensor.external_data)
    names = {entry.value for entry in entries if entry.key == "location"}
    return [path, *(path.parent / name for name in sorted(names))]


def serialize(model: ir.Model) -> bytes:
    """The graph as the bytes of an .onnx file, all weights included; the same graph gives the same bytes."""
    with in_memory(model):
        return ir.to_proto(model).SerializeToString(deterministic=True)  # type: ignore[no-any-return]


def copy_graph(model: ir.Model) -> ir.Model:
    """A graph of its own: changing it leaves `model` as it was. Weights are shared until replaced."""
    return model.clone()


def weight_bytes(model: ir.Model) -> int:
    """Bytes of all stored weights."""
    stored = (value.const_value for graph in model.graphs() for value in graph.initializers.values())
    return sum(tensor.nbytes for tensor in stored if tensor is not None)


def input_specs(model: ir.Model) -> list[InputSpec]:
    """Name, element type and shape of every graph input; the first axis counts samples.

    Raises:
        GraphError: an input that is no tensor, or has no known type.
    """
    specs = []
    for value in model.graph.inputs:
        if value.name in model.graph.initializers:  # a default value, not something the data must give
            continue
        if value.dtype is None or value.shape is None or not len(value.shape):
            raise GraphError(f"input {value.name} of the graph has no known type, shape or sample axis")
        sizes = tuple(size if isinstance(size, int) else None for size in value.shape)
        specs.append(InputSpec(str(value.name), np.dtype(value.dtype.numpy()), sizes))
    return specs


def output_names(model: ir.Model) -> list[str]:
    """The names of a graph's outputs, in order."""
    return [str(value.name) for value in model.graph.outputs]


def batch_size(model: ir.Model, preferred: int = 64) -> int:
    """How many samples to run at once: `preferred`, or 1 where the graph takes no other.

    Raises:
        GraphError: the graph is fixed to some other number of samples.
    """
    fixed = {spec.shape[0] for spec in input_specs(model)} - {None}
    if not fixed:
        return preferred
    if fixed != {1}:
        raise GraphError(f"the graph takes exactly {fixed} samples at once", mend="export it with a free sample axis")
    return 1


def initializer(model: ir.Model, value: ir.Value | None) -> "np.ndarray[Any, Any] | None":
    """The stored weight behind a value, or None where the value is computed or fed."""
    if value is None or value.const_value is None or value.name not in model.graph.initializers:
        return None
    return value.const_value.numpy()


def set_initializer(model: ir.Model, name: str, array: "np.ndarray[Any, Any]") -> None:
    """Replace a stored weight, its type and shape included."""
    value = model.graph.initializers[name]
    value.const_value = ir.tensor(np.ascontiguousarray(array), name=name)
    value.shape = ir.Shape(array.shape)


def add_initializer(model: ir.Model, name: str, array: "np.ndarray[Any, Any]") -> ir.Value:
    """Store a new tensor under a name like `name` that is free."""
    while name in model.graph.initializers:
        name += "_"
    tensor = ir.tensor(np.asarray(array, order="C"), name=name)
    value = ir.Value(name=name, const_value=tensor, shape=ir.Shape(array.shape), type=ir.TensorType(tensor.dtype))
    model.graph.register_initializer(value)
    return value


def _read_proto(path: Path) -> onnx.ModelProto:
    if not path.is_file():
        near = ", ".join(sorted(found.name for found in path.parent.glob("*.onnx"))) if path.parent.is_dir() else ""
        raise GraphError(f"there is no ONNX file {path}", available=near or "no .onnx in that folder")
    try:
        return onnx.load(path, load_external_data=False)
    except (google.protobuf.message.DecodeError, onnx.checker.ValidationError, ValueError) as error:
        raise GraphError(
            f"{path} is not an ONNX file, or is damaged: {error}", mend="export or download it again"
        ) from error


def _trust_tensors(model: ir.Model) -> None:
    """Give stored weights their own shapes: a file that others have pruned may note those of before beside them."""
    for graph in model.graphs():
        for value in graph.initializers.values():
            if value.const_value is not None:
                value.shape = ir.Shape(value.const_value.shape.numpy())


def _remove_data(path: Path, keep: Collection[Path]) -> None:
    """Remove the weights of earlier graphs of this name; a file that was not named here is left alone."""
    ours = re.compile(rf"{re.escape(path.name)}\.[0-9a-f]{{{_DIGITS}}}\.data")
    for found in path.parent.iterdir():
        if ours.fullmatch(found.name) and found not in keep:
            found.unlink()


def _check_text(path: Path, message: google.protobuf.message.Message) -> None:
    """Text whose bytes are no UTF-8 is read as bytes, and cannot be written again."""
    for field, value in message.ListFields():
        for one in value if field.is_repeated else (value,):
            if field.message_type is not None:
                _check_text(path, one)
            elif field.type == field.TYPE_STRING and not isinstance(one, str):
                raise GraphError(f"{path}: {field.name} is damaged: {one[:40]!r}", mend="export or download it again")


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
