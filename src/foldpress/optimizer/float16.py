"""Float16: half the bytes, and on most GPUs more than twice the arithmetic. Inputs and outputs stay float32.

Every operator whose ONNX definition allows it computes in float16, but for those that would overflow: float16 ends at
65,504. Which ones do is read from their stored values and from ranges on calibration samples; they stay float32 between
two casts. (Micikevicius et al. 2017, arXiv:1710.03740, keep such operations in float32 likewise.)

onnxruntime has a converter too, but it clips weights that overflow, looks at no activation, and lies in a package that
adds itself to the import path.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx
import onnx_ir as ir

from foldpress.errors import RequestError
from foldpress.graph import initializer, set_initializer, weight_bytes
from foldpress.optimizer.passes import LogEntry, PassResult
from foldpress.optimizer.static_int8 import refuse_quantized
from foldpress.optimizer.statistics import RangeStatistics

_LARGEST = float(np.finfo(np.float16).max)
# Samples that nobody has seen may reach further than those of calibration.
_HEADROOM = 2


@dataclass(frozen=True)
class Float16:
    """Convert a float32 graph, given how large every computed tensor gets.

    Raises:
        RequestError: the graph is quantized already, or has nothing to convert.
    """

    magnitudes: Mapping[str, float]
    name: str = "float16"

    def __call__(self, model: ir.Model) -> PassResult:
        """Convert what can be; the log says what stays float32, and why."""
        refuse_quantized(model)
        before = weight_bytes(model)
        kept = {node: why for node in model.graph if (why := self._why_not(model, node))}
        halved = [node for node in model.graph if node not in kept and _slots(model, node)]
        if not halved:
            raise RequestError("float16 finds nothing to convert here", available="operators on float32 tensors")
        _convert(model, halved)
        after = weight_bytes(model)
        detail = f"{len(halved)} operators compute in float16; stored values {before:,} to {after:,} bytes"
        slow = "processors gain size, not speed: onnxruntime casts to float32 and back there; it is meant for GPUs"
        log = [LogEntry(self.name, "graph", "done", detail), LogEntry(self.name, "speed", "declined", slow)]
        for (operator, why), count in sorted(Counter((node.op_type, why) for node, why in kept.items()).items()):
            log.append(LogEntry(self.name, f"{count} {operator}", "declined", f"{why}; stays float32"))
        return PassResult(model, tuple(log))

    def _why_not(self, model: ir.Model, node: ir.Node) -> str | None:
        """Why an operator stays float32, or None."""
        touched = [value for value in (*node.inputs, *node.outputs) if _is_float(value)]
        if not touched:
            return None
        if any(attribute.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS) for attribute in _given(node)):
            return "it holds graphs of its own"
        if node.domain:
            return f"no definition of domain {node.domain} says that it may be float16"
        schema = _schema(model, node)
        bound = {_formal(schema.inputs, i).type_str for i, value in enumerate(node.inputs) if value is not None}
        if any(_is_float(value) and _formal(schema.outputs, i).type_str not in bound
               for i, value in enumerate(node.outputs)):  # fmt: skip
            return "the type of its output does not follow its inputs"
        stored = [array for value in node.inputs if (array := initializer(model, value)) is not None]
        if any(_overflows(array) for array in stored):
            return f"stored values exceed {_LARGEST:,.0f}"
        if any(not self.magnitudes.get(str(value.name), 0.0) * _HEADROOM <= _LARGEST for value in touched if value):
            return f"on calibration samples it comes within {_HEADROOM} times of {_LARGEST:,.0f}, or beyond"
        return None


def tensors_to_watch(model: ir.Model) -> list[str]:
    """Float32 tensors that are fed or computed."""
    computed = (value for node in model.graph for value in node.outputs)
    return sorted(str(value.name) for value in (*model.graph.inputs, *computed) if value.name and _is_float(value))


def magnitudes(statistics: RangeStatistics, fold: int | None = None, repeat: int = 0) -> dict[str, float]:
    """The largest absolute value of every tensor over all folds, or over all but one; infinity and NaN stay what they are."""
    others = [k for k in range(statistics.minimum.shape[1]) if k != fold]
    largest = np.maximum(-statistics.minimum[repeat, others].min(0), statistics.maximum[repeat, others].max(0))
    return dict(zip(statistics.tensors, map(float, largest), strict=True))


def _convert(model: ir.Model, halved: list[ir.Node]) -> None:
    """Type by type: first what is stored, then what is fed or computed, with casts where the two types meet."""
    wants = {(node, slot) for node in halved for slot in _slots(model, node)}
    computed = {node.outputs[i] for node in halved for i in _slots(model, node, of_outputs=True)}
    for name, value in list(model.graph.initializers.items()):
        if _is_float(value) and not value.is_graph_input() and not value.is_graph_output():
            _convert_stored(model, name, value, wants)
    inputs = [value for value in model.graph.inputs if _is_float(value)]
    for value in [*inputs, *(value for node in list(model.graph) for value in node.outputs if _is_float(value))]:
        _convert_computed(model, value, wants, is_half=value in computed)


def _convert_stored(model: ir.Model, name: str, value: ir.Value, wants: set[tuple[ir.Node, int]]) -> None:
    uses = [use for use in value.uses() if (use.node, use.idx) in wants]
    if not uses:
        return
    half = value.const_value.numpy().astype(np.float16)  # type: ignore[union-attr]
    if len(uses) == len(value.uses()):
        set_initializer(model, name, half)
        value.type = ir.TensorType(ir.DataType.FLOAT16)  # its own: copies of a graph share type objects
        return
    tensor = ir.tensor(half, name=f"{name}.float16")
    copy = ir.Value(name=tensor.name, const_value=tensor, shape=value.shape, type=ir.TensorType(tensor.dtype))
    model.graph.register_initializer(copy)
    for use in uses:
        use.node.replace_input_with(use.idx, copy)


def _convert_computed(model: ir.Model, value: ir.Value, wants: set[tuple[ir.Node, int]], *, is_half: bool) -> None:
    """One cast serves all that want the other type; a graph output is always the float32 of the two."""
    others = [use for use in value.uses() if ((use.node, use.idx) in wants) is not is_half]
    is_output = is_half and value.is_graph_output()
    if is_half:
        value.type = ir.TensorType(ir.DataType.FLOAT16)
    if not others and not is_output:
        return
    other = ir.DataType.FLOAT if is_half else ir.DataType.FLOAT16
    cast = ir.node("Cast", [value], {"to": other})
    made = cast.outputs[0]
    made.type, made.shape = ir.TensorType(other), value.shape
    for use in others:
        use.node.replace_input_with(use.idx, made)
    if is_output:
        made.name, value.name = value.name, f"{value.name}.float16"
        model.graph.outputs[:] = [made if one is value else one for one in model.graph.outputs]
    producer = value.producer()
    if producer is None:
        model.graph.insert_before(model.graph[0], cast)
    else:
        model.graph.insert_after(producer, cast)


def _slots(model: ir.Model, node: ir.Node, *, of_outputs: bool = False) -> list[int]:
    """Positions of float32 inputs, or outputs, that the operator's definition lets be float16."""
    if node.domain or not any(_is_float(value) for value in (*node.inputs, *node.outputs)):
        return []
    schema = _schema(model, node)
    values, formal = (node.outputs, schema.outputs) if of_outputs else (node.inputs, schema.inputs)
    return [i for i, value in enumerate(values) if _is_float(value) and "tensor(float16)" in _formal(formal, i).types]


def _schema(model: ir.Model, node: ir.Node) -> onnx.defs.OpSchema:
    return onnx.defs.get_schema(node.op_type, model.opset_imports[""], node.domain)


def _formal(formal: list[onnx.defs.OpSchema.FormalParameter], position: int) -> onnx.defs.OpSchema.FormalParameter:
    """The last one stands for all that follow, where their number is free."""
    return formal[min(position, len(formal) - 1)]


def _given(node: ir.Node) -> list[ir.Attr]:
    return list(node.attributes.values())


def _is_float(value: ir.Value | None) -> bool:
    return value is not None and value.dtype == ir.DataType.FLOAT


def _overflows(array: "np.ndarray[tuple[int, ...], np.dtype[np.generic]]") -> bool:
    """Whether finite values of a float32 array are beyond float16; infinity is the same in both."""
    if array.dtype != np.float32:
        return False
    finite = array[np.isfinite(array)]
    return bool(finite.size) and float(np.abs(finite).max()) > _LARGEST
