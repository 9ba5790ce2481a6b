"""Static int8: Q/DQ pairs with per-channel weights, from ranges that were collected beforehand.

onnxruntime's own quantizer inserts the pairs; the ranges reach it through its public calibration cache, written fresh
into a private folder each time, since the cache checks neither model nor data.
"""

import logging
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import onnx_ir as ir
from onnx_ir.passes.common import ClearMetadataAndDocStringPass
from onnxruntime.quantization import CalibrationMethod, QuantType, quantize_static
from onnxruntime.quantization.calibrate import TensorData, TensorsData

from foldpress.errors import PassError, RequestError
from foldpress.external import read_weights
from foldpress.graph import initializer, write_graph
from foldpress.optimizer.passes import LogEntry, PassResult
from foldpress.optimizer.statistics import Ranges
from foldpress.optimizer.targets import Target
from foldpress.stored_weights import scales_integers

# Operators with an integer kernel, and those that pass integers through, so that chains stay integer.
_INTEGER_KERNELS = ("Conv", "ConvTranspose", "Gemm", "MatMul", "Add", "AveragePool", "GlobalAveragePool", "MaxPool",
                   "Mul")  # fmt: skip
_PASS_THROUGH = ("Clip", "Concat", "Flatten", "Gather", "Pad", "Relu", "Reshape", "Resize", "Slice", "Split", "Squeeze",
                 "Transpose", "Unsqueeze")  # fmt: skip
QUANTIZED_OPERATORS = _INTEGER_KERNELS + _PASS_THROUGH
_QUANTIZED_ALREADY = {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "DynamicQuantizeLSTM", "QLinearConv",
                      "QLinearMatMul", "MatMulInteger", "MatMulNBits", "ConvInteger", "QGemm", "QAttention"}  # fmt: skip
_WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")


@dataclass(frozen=True)
class StaticInt8:
    """Quantize a float graph with given ranges for a target. `left_float` names nodes that stay float, with the reason.

    Raises:
        RequestError: the graph is quantized already.
        PassError: a tensor that is to be quantized has no range.
    """

    ranges: Ranges
    target: Target
    left_float: Mapping[str, str] = field(default_factory=dict)
    name: str = "static-int8"

    def __call__(self, model: ir.Model) -> PassResult:
        """Insert Q/DQ pairs; the log says what stayed float, and why."""
        refuse_quantized(model)
        missing = sorted(set(tensors_to_calibrate(model)) - set(self.ranges.tensors))
        if missing:
            raise PassError(f"no range for {', '.join(missing[:3])}: the statistics belong to another graph")
        quantized = self._quantize(model)
        return PassResult(quantized, (self._type_entry(), *self._log(model, quantized)))

    def _quantize(self, model: ir.Model) -> ir.Model:
        # Not in onnxruntime-openvino, which is older; whoever only times graphs there does without.
        from onnxruntime.quantization.calibrate import save_tensors_data

        # Says that shapes were inferred and the graph cleaned: without it the quantizer advises to.
        model.metadata_props["onnx.quant.pre_process"] = "onnxruntime.quant"
        with tempfile.TemporaryDirectory(prefix="foldpress.") as folder, quiet():
            source, cache, output = (Path(folder) / name for name in ("float.onnx", "ranges.json", "quantized.onnx"))
            write_graph(model, source)
            save_tensors_data(_tensors_data(self.ranges), cache)
            quantize_static(
                source,
                output,
                None,
                use_external_data_format=True,
                op_types_to_quantize=list(QUANTIZED_OPERATORS),
                nodes_to_exclude=[*self.left_float, *_unfit(model)],
                per_channel=True,
                reduce_range=self.target.reduce_range,
                activation_type=QuantType.QInt8 if self.target.signed_activations else QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                calibration_cache_path=cache,
                extra_options={
                    "ActivationSymmetric": self.target.symmetric_activations,
                    # Two computed operands (attention) have no fast integer kernel, and lose the most.
                    "MatMulConstBOnly": True,
                },
            )
            loaded = ir.load(output)
            read_weights(loaded)
        return ClearMetadataAndDocStringPass()(loaded).model

    def _type_entry(self) -> LogEntry:
        return LogEntry(self.name, "types", "done", f"target {self.target.name}: {self.target.why}")

    def _log(self, before: ir.Model, after: ir.Model) -> list[LogEntry]:
        """Which weighted operators became integer, and what stayed float."""
        layers = {str(node.name): _fed_by_integers(node) for node in after.graph if node.op_type in _WEIGHTED}
        done = [name for name, integer in layers.items() if integer]
        entries = [LogEntry(self.name, f"{len(done)} layers", "done", ", ".join(done))] if done else []
        reasons = {name: "it multiplies two computed tensors" for name, integer in layers.items() if not integer}
        for name, why in (reasons | dict(self.left_float)).items():
            entries.append(LogEntry(self.name, name, "declined", f"{why}; stays float"))
        unfit = set(_unfit(before))
        others = Counter(
            node.op_type for node in before.graph if node.op_type not in QUANTIZED_OPERATORS or node.name in unfit
        )
        for operator, count in sorted(others.items()):
            entries.append(
                LogEntry(self.name, f"{count} {operator}", "declined", "no integer kernel for it here; stays float")
            )
        return entries


def is_quantized(model: ir.Model) -> bool:
    """Whether a graph holds integer layers, Q/DQ pairs or integer weights already."""
    return any(node.op_type in _QUANTIZED_ALREADY or scales_integers(node) for node in model.graph)


def refuse_quantized(model: ir.Model) -> None:
    """Refuse a graph that holds integers, before clean-up folds the sign of them away.

    Raises:
        RequestError: it does.
    """
    if is_quantized(model):
        raise RequestError("the graph is already quantized", mend="start from the float graph")


def tensors_to_calibrate(model: ir.Model) -> list[str]:
    """Float tensors that need a range: every computed input and output of an operator that becomes integer."""
    unfit = set(_unfit(model))
    names = {
        str(value.name)
        for node in model.graph
        if node.op_type in QUANTIZED_OPERATORS and node.name not in unfit
        for value in (*node.inputs, *node.outputs)
        if value is not None and value.name and value.dtype == ir.DataType.FLOAT and initializer(model, value) is None
    }
    return sorted(names)


def _unfit(model: ir.Model) -> list[str]:
    """Names of nodes that stay float though their operator could be integer.

    A Mul by one stored number passes integers through (attention's 1/√d); one of two tensors (gates, decomposed normalizations)
    rounds what spans too wide a range. A Gather from a stored table would round an embedding to one scale for all its rows.
    """
    return [
        str(node.name)
        for node in model.graph
        if (node.op_type == "Mul" and not any(_is_number(model, value) for value in node.inputs))
        or (node.op_type == "Gather" and initializer(model, node.inputs[0]) is not None)
    ]


def _is_number(model: ir.Model, value: ir.Value | None) -> bool:
    stored = initializer(model, value)
    return stored is not None and stored.size == 1


def _tensors_data(ranges: Ranges) -> TensorsData:
    rows = zip(ranges.tensors, ranges.minimum, ranges.maximum, strict=True)
    return TensorsData(
        CalibrationMethod.MinMax, {name: TensorData(lowest=low, highest=high) for name, low, high in rows}
    )


def _fed_by_integers(node: ir.Node) -> bool:
    producers = [value.producer() for value in node.inputs[:2] if value is not None]
    return all(producer is not None and producer.op_type == "DequantizeLinear" for producer in producers)


class quiet:  # noqa: N801
    """Silence the quantizer's advice while it runs: it logs to the root logger."""

    def __enter__(self) -> None:
        self._before = logging.root.manager.disable
        logging.disable(logging.WARNING)

    def __exit__(self, *_: object) -> None:
        logging.disable(self._before)
