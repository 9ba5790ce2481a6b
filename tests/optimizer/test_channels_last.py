from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import onnxruntime
import pytest

from foldpress.data import Dataset
from foldpress.graph import load_graph, save_graph, serialize
from foldpress.optimizer.channels_last import ChannelsLast
from foldpress.optimizer.cleanup import clean_up
from foldpress.optimizer.passes import apply
from foldpress.optimizer.placement import nodes_left_float
from foldpress.optimizer.static_int8 import StaticInt8, tensors_to_calibrate
from foldpress.optimizer.statistics import collect_ranges
from foldpress.optimizer.targets import TARGETS
from foldpress.runtime import open_session, predict

TARGET = TARGETS["x86-vnni"]
RESIDUAL = """r = Relu (c)  d = Conv <pads = [1, 1, 1, 1]> (r, w1)  e = Conv <pads = [1, 1, 1, 1]> (d, w2)  s = Add (e, r)
    f = Conv <pads = [1, 1, 1, 1]> (s, w3)  g = Conv <pads = [1, 1, 1, 1]> (f, w4)  t = Add (g, s)"""
PLAIN = "r = Relu (c)  t = Conv <pads = [1, 1, 1, 1]> (r, w1)"


def data() -> Dataset:
    return Dataset({"x": np.random.default_rng(1).standard_normal((32, 3, 8, 8)).astype(np.float32)})


def quantized(body: str, keep_first: bool = True) -> ir.Model:
    """Static int8 of a small network whose first convolution sees three channels."""
    proto = onnx.parser.parse_model(f"""<ir_version: 9, opset_import: ["" : 18]> g (float[N, 3, 8, 8] x) => (float[N, 16, 8, 8] y) {{
        [first] c = Conv <pads = [1, 1, 1, 1]> (x, w0)  {body}  y = Conv <pads = [1, 1, 1, 1]> (t, w5) }}""")
    random = np.random.default_rng(0)
    for number in range(6):
        weight = random.standard_normal((16, 3 if number == 0 else 16, 3, 3)).astype(np.float32) / 12
        proto.graph.initializer.append(onnx.numpy_helper.from_array(weight, f"w{number}"))
    model = apply(clean_up(), ir.from_proto(proto)).model
    ranges = collect_ranges(model, tensors_to_calibrate(model), data(), np.zeros((1, 32), np.intp)).all()
    left_float = nodes_left_float(model, TARGET) if keep_first else {}
    return apply([StaticInt8(ranges, TARGET, left_float)], model).model


def optimized(model: ir.Model, folder: Path) -> Counter[str]:
    """What onnxruntime makes of it when it may change the layout, by operator."""
    save_graph(model, folder / "int8.onnx")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    onnxruntime.InferenceSession(str(folder / "int8.onnx"), options, providers=["CPUExecutionProvider"])
    return Counter(node.op_type for node in load_graph(folder / "optimized.onnx").graph)


def test_transposes_of_residual_blocks_go_and_values_stay(tmp_path: Path) -> None:
    """Catches: a Transpose cancelled before it helps, or one that is not undone for some reader."""
    before = quantized(RESIDUAL)
    result = apply([ChannelsLast()], before)
    assert [entry.subject for entry in result.log] == ["first"]
    expected, found = (predict(open_session(serialize(model)), data(), 8)[0] for model in (before, result.model))
    np.testing.assert_array_equal(found, expected)
    many, few = optimized(before, tmp_path), optimized(result.model, tmp_path)
    assert many["QLinearConv"] == few["QLinearConv"] == 5
    assert few["Transpose"] == 2 < many["Transpose"]


@pytest.mark.parametrize(("body", "keep_first"), [(PLAIN, True), (RESIDUAL, False)])
def test_where_onnxruntime_needs_no_help_nothing_changes(body: str, keep_first: bool) -> None:
    """Catches: Transposes put where a single layer reads, or behind a convolution that is integer itself."""
    before = quantized(body, keep_first)
    result = apply([ChannelsLast()], before)
    assert not result.log
    assert serialize(result.model) == serialize(before)


def test_a_second_time_there_is_nothing_to_do() -> None:
    """Catches: a pass that turns what it has turned."""
    once = apply([ChannelsLast()], quantized(RESIDUAL))
    twice = apply([ChannelsLast()], once.model)
    assert not twice.log
    assert serialize(twice.model) == serialize(once.model)
