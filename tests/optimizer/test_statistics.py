import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import pytest

from foldpress.data import Dataset
from foldpress.errors import GraphError
from foldpress.graph import serialize
from foldpress.optimizer.static_int8 import tensors_to_calibrate
from foldpress.optimizer.statistics import collect_ranges
from foldpress.runtime import open_session

pytest_plugins = ["trained"]


def observed(model: ir.Model, names: list[str], data: Dataset) -> list[tuple[float, float]]:
    """The slow, obvious way: fetch every tensor of every sample."""
    proto = ir.to_proto(model)
    given = {value.name for value in proto.graph.input}
    proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in given | {"scores"})
    session = open_session(proto.SerializeToString(), optimize=False)
    kept = [output.name for output in session.get_outputs()]
    found = []
    values = [dict(zip(kept, session.run(None, data.batch(np.array([i]))), strict=True)) for i in range(len(data))]
    for name in names:
        arrays = [data.batch(np.array([i]))[name] if name in given else values[i][name] for i in range(len(data))]
        found.append((min(a.min() for a in arrays), max(a.max() for a in arrays)))
    return found


def test_leaving_a_fold_out_equals_calibrating_without_it_bit_for_bit(
    digits_graph: ir.Model, digits_data: Dataset
) -> None:
    """Catches: any way in which one sample's statistics depend on the samples collected with it. Ragged batches included."""
    calibration = digits_data.renamed({"x": digits_graph.graph.inputs[0].name or ""}).select(np.arange(203))
    numbers = np.stack([np.arange(203) % 5, np.random.default_rng(0).integers(0, 5, 203)])
    names = tensors_to_calibrate(digits_graph)
    statistics = collect_ranges(digits_graph, names, calibration, numbers)
    for repeat in range(2):
        for fold in range(5):
            rest = np.flatnonzero(numbers[repeat] != fold)
            direct = collect_ranges(
                digits_graph, names, calibration.select(rest), np.zeros((1, len(rest)), np.intp)
            ).all()
            left_out = statistics.without(fold, repeat)
            assert direct.minimum.tobytes() == left_out.minimum.tobytes()
            assert direct.maximum.tobytes() == left_out.maximum.tobytes()


def test_ranges_equal_those_of_the_raw_tensors(digits_graph: ir.Model, digits_data: Dataset) -> None:
    """Catches: reducing over the wrong axes, or missing the samples of a short last batch."""
    data = digits_data.renamed({"x": digits_graph.graph.inputs[0].name or ""}).select(np.arange(37))
    names = [n for n in tensors_to_calibrate(digits_graph) if n != digits_graph.graph.outputs[0].name]
    ranges = collect_ranges(digits_graph, names, data, np.zeros((1, 37), np.intp)).all()
    expected = np.array(observed(digits_graph, names, data))
    np.testing.assert_allclose(ranges.minimum, expected[:, 0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(ranges.maximum, expected[:, 1], rtol=1e-5, atol=1e-6)


MIXED = """<ir_version: 9, opset_import: ["" : {opset}]> g (float[N, 3] x) => (float[N, 3] y) {{
    t = Transpose <perm = [1, 0]> (x)
    r = Relu(t)
    y = Transpose <perm = [1, 0]> (r)
}}"""


@pytest.mark.parametrize("opset", [13, 18])
def test_tensors_without_the_sample_axis_in_front(opset: int) -> None:
    """Catches: taking another axis for the samples (as attention heads folded into the batch would)."""
    model = ir.from_proto(onnx.shape_inference.infer_shapes(onnx.parser.parse_model(MIXED.format(opset=opset))))
    data = Dataset({"x": np.array([[1, -2, 3], [4, 5, -6]], np.float32)})
    statistics = collect_ranges(model, ["t"], data, np.array([[0, 1]]))
    assert statistics.without(1).minimum[0] == -2
    assert statistics.without(0).maximum[0] == 5


@pytest.mark.parametrize("opset", [13, 18])
def test_old_and_new_reduction_operators(opset: int) -> None:
    """Catches: axes given as an input where they are an attribute, or the other way round."""
    text = f'<ir_version: 9, opset_import: ["" : {opset}]> g (float[N, 2, 2] x) => (float[N, 2, 2] y) {{ y = Relu(x) }}'
    model = ir.from_proto(onnx.parser.parse_model(text))
    data = Dataset({"x": np.arange(12, dtype=np.float32).reshape(3, 2, 2)})
    ranges = collect_ranges(model, ["x"], data, np.zeros((1, 3), np.intp)).all()
    assert (ranges.minimum[0], ranges.maximum[0]) == (0, 11)


def test_an_overflowing_tensor_is_named() -> None:
    """Catches: an infinite range that makes every quantized value zero."""
    text = '<ir_version: 9, opset_import: ["" : 18]> g (float[N, 1] x) => (float[N, 1] y) { e = Exp(x)  y = Relu(e) }'
    model = ir.from_proto(onnx.shape_inference.infer_shapes(onnx.parser.parse_model(text)))
    statistics = collect_ranges(
        model, ["e"], Dataset({"x": np.array([[1000.0]], np.float32)}), np.zeros((1, 1), np.intp)
    )
    with pytest.raises(GraphError, match="no finite range for e"):
        statistics.all()


def test_merging_is_elementwise(digits_graph: ir.Model, digits_data: Dataset) -> None:
    """Catches: a merge that is not associative."""
    data = digits_data.renamed({"x": digits_graph.graph.inputs[0].name or ""}).select(np.arange(30))
    names = tensors_to_calibrate(digits_graph)
    thirds = [
        collect_ranges(digits_graph, names, data.select(np.arange(i, 30, 3)), np.zeros((1, 10), np.intp)).all()
        for i in range(3)
    ]
    whole = collect_ranges(digits_graph, names, data, np.zeros((1, 30), np.intp)).all()
    for merged in (thirds[0].merge(thirds[1]).merge(thirds[2]), thirds[2].merge(thirds[1].merge(thirds[0]))):
        assert merged.minimum.tobytes() == whole.minimum.tobytes()
        assert merged.maximum.tobytes() == whole.maximum.tobytes()


def test_the_graph_itself_is_left_alone(digits_graph: ir.Model, digits_data: Dataset) -> None:
    """Catches: outputs added to the caller's graph."""
    before = serialize(digits_graph)
    data = digits_data.renamed({"x": digits_graph.graph.inputs[0].name or ""}).select(np.arange(3))
    collect_ranges(digits_graph, tensors_to_calibrate(digits_graph), data, np.zeros((1, 3), np.intp))
    assert serialize(digits_graph) == before
