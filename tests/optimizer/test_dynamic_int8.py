from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import pytest
from onnx import numpy_helper

from conftest import Classifier
from foldpress.data import Dataset
from foldpress.errors import RequestError
from foldpress.exporter.export import export_source
from foldpress.graph import load_graph, serialize
from foldpress.optimizer.cleanup import clean_up
from foldpress.optimizer.dynamic_int8 import DynamicInt8
from foldpress.optimizer.passes import apply
from foldpress.optimizer.targets import TARGETS
from foldpress.runtime import open_session, predict
from foldpress.sources import read_data

SHARED = Path(__file__).parents[3] / "shared" / "data"
PASS = DynamicInt8(TARGETS["x86-vnni"])


def test_a_trained_classifier_keeps_its_answers(classifier: Classifier) -> None:
    """Catches: weights quantized along the wrong axis, or by one scale for all."""
    model = load_graph(classifier.net)
    result = apply([*clean_up(), PASS], model)
    data = Dataset({"x": classifier.held_out["x"]})
    before, after = (predict(open_session(serialize(one)), data, 64)[0].argmax(1) for one in (model, result.model))
    assert (before != after).mean() < 0.01
    assert any(entry.subject == "2 MatMulInteger" for entry in result.log)


def test_the_same_graph_gives_the_same_bytes(classifier: Classifier) -> None:
    """Catches: names that differ from run to run."""
    twice = [serialize(apply([*clean_up(), PASS], load_graph(classifier.net)).model) for _ in range(2)]
    assert twice[0] == twice[1]


def test_a_graph_with_nothing_to_quantize_is_refused() -> None:
    """Catches: a copy of the float graph passed off as int8."""
    proto = onnx.parser.parse_model(
        '<ir_version: 9, opset_import: ["" : 18]> g (float[N, 1, 4, 4] x) => (float[N, 2, 2, 2] y) { y = Conv(x, w) }'
    )
    proto.graph.initializer.append(numpy_helper.from_array(np.ones((2, 1, 3, 3), np.float32), "w"))
    with pytest.raises(RequestError, match="finds nothing to quantize"):
        apply([PASS], ir.from_proto(proto))


def test_a_quantized_graph_is_not_quantized_again(classifier: Classifier) -> None:
    """Catches: integers of integers."""
    once = apply([*clean_up(), PASS], load_graph(classifier.net)).model
    with pytest.raises(RequestError, match="already quantized"):
        apply([PASS], once)


def test_a_graph_with_contrib_operators_is_quantized() -> None:
    """Catches a fused graph that breaks the quantizer, since no type is inferred behind onnxruntime's own operators."""
    proto = onnx.parser.parse_model(
        """<ir_version: 9, opset_import: ["" : 18, "com.microsoft" : 1]> g (float[N, 4, 8] x) => (float[N, 4, 8] y)
        { h = com.microsoft.BiasGelu(x, b) y = MatMul(h, W) }"""
    )
    rng = np.random.default_rng(0)
    for name, shape in (("b", (8,)), ("W", (8, 8))):
        proto.graph.initializer.append(numpy_helper.from_array(rng.standard_normal(shape).astype(np.float32), name))
    model = ir.from_proto(proto)
    x = rng.standard_normal((3, 4, 8)).astype(np.float32)
    result = apply([PASS], model)
    before, after = (open_session(serialize(one)).run(None, {"x": x})[0] for one in (model, result.model))
    assert 0 < np.abs(after - before).max() < 0.05 * np.abs(before).max()


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"the trained LSTM is not in {SHARED}")
def test_an_lstm_gets_smaller_and_stays_right(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches: a recurrent network of which only the last layer is quantized."""
    monkeypatch.setenv("FOLDPRESS_SHARED", str(SHARED))
    folder = Path(__file__).parents[1] / "data" / "lstm"
    data = read_data("data:load", folder)
    weights = str(SHARED / "spoken_digits" / "best_modelFP.pth")
    model = export_source("model:build", weights, folder, data).graph
    result = apply([*clean_up(), PASS], model)
    assert len(serialize(result.model)) < 0.32 * len(serialize(model))
    before, after = (predict(open_session(serialize(one)), data, 1)[0].argmax(1) for one in (model, result.model))
    assert (before == data.y).mean() == pytest.approx(0.888, abs=0.001)
    assert (before != after).mean() < 0.01
    assert abs((after == data.y).mean() - (before == data.y).mean()) < 0.005
