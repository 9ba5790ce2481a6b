from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import onnxruntime as ort
import pytest

import foldpress
from conftest import Classifier, Invoke, WriteRecipe
from foldpress.benchmark.evidence import load_evidence
from foldpress.cost import graph_cost
from foldpress.data import Dataset
from foldpress.graph import load_graph, save_graph, serialize
from foldpress.optimizer.cleanup import clean_up
from foldpress.optimizer.lean import LeanFile
from foldpress.optimizer.passes import apply
from foldpress.optimizer.static_int8 import StaticInt8, tensors_to_calibrate
from foldpress.optimizer.statistics import collect_ranges
from foldpress.optimizer.targets import TARGETS
from foldpress.runtime import open_session, predict

pytest_plugins = ["trained"]

HEAD = '<ir_version: 9, opset_import: ["" : 18]>'


def parse(text: str) -> ir.Model:
    model: ir.Model = ir.from_proto(onnx.parser.parse_model(f"{HEAD} {text}"))
    return model


def lean(model: ir.Model) -> ir.Model:
    return apply([LeanFile()], model).model


def optimized(model: ir.Model, folder: Path) -> Counter[str]:
    """What onnxruntime makes of a graph, counted by operator."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    ort.InferenceSession(serialize(model), options, providers=["CPUExecutionProvider"])
    return Counter(node.op_type for node in onnx.load(folder / "optimized.onnx").graph.node)


@pytest.fixture(scope="module")
def data(digits_graph: ir.Model, digits_data: Dataset) -> Dataset:
    return digits_data.renamed({"x": digits_graph.graph.inputs[0].name or ""})


@pytest.fixture(scope="module")
def quantized(digits_graph: ir.Model, data: Dataset) -> ir.Model:
    seen = data.select(np.arange(200))
    ranges = collect_ranges(digits_graph, tensors_to_calibrate(digits_graph), seen, np.zeros((1, 200), np.intp)).all()
    return apply([StaticInt8(ranges, TARGETS["x86"])], digits_graph).model


def test_outputs_are_the_same_bit_for_bit(digits_graph: ir.Model, quantized: ir.Model, data: Dataset) -> None:
    """Catches: anything dropped or shared that the trained network computes with, at either batch size."""
    for model in (digits_graph, quantized):
        for optimize in (True, False):
            for batch in (1, 64):
                sessions = (open_session(serialize(one), optimize=optimize) for one in (model, lean(model)))
                before, after = (predict(session, data.select(np.arange(192)), batch) for session in sessions)
                assert np.array_equal(before[0], after[0])


def test_onnxruntime_fuses_as_before(digits_graph: ir.Model, quantized: ir.Model, tmp_path: Path) -> None:
    """Catches: a zero point or shape dropped that a fusion asks for: QGemm would run as a float Gemm."""
    for model in (digits_graph, quantized):
        assert optimized(lean(model), tmp_path) == optimized(model, tmp_path)
    assert {"QLinearConv", "QGemm"} & set(optimized(lean(quantized), tmp_path))


def test_the_file_shrinks_by_what_the_log_says(quantized: ir.Model, tmp_path: Path) -> None:
    """Catches: notes, shapes or long names that stay; a log that promises more than the file shows."""
    result = apply([LeanFile()], quantized)
    save_graph(quantized, tmp_path / "before.onnx")
    save_graph(result.model, tmp_path / "after.onnx")
    before, after = ((tmp_path / name).stat().st_size for name in ("before.onnx", "after.onnx"))
    assert f"{before - after:,} bytes saved, {before:,} to {after:,}" in result.log[0].detail
    stored = sum(
        value.const_value.nbytes for value in result.model.graph.initializers.values() if value.const_value is not None
    )
    assert after - stored < 0.25 * (before - stored)
    proto = onnx.load(tmp_path / "after.onnx")
    assert len(proto.graph.value_info) <= 1  # the free sample axis behind Reshape
    assert not proto.metadata_props
    assert not proto.graph.metadata_props


def test_the_same_graph_gives_the_same_bytes(quantized: ir.Model) -> None:
    """Catches: names or an order that change from run to run; a second pass that changes what the first has made."""
    once = serialize(lean(quantized))
    assert once == serialize(lean(quantized))
    assert once == serialize(lean(ir.from_proto(onnx.load_from_string(once))))


def test_the_callers_graph_never_changes(quantized: ir.Model) -> None:
    """Catches: renaming or dropping through what the copy shares with the original."""
    before = serialize(quantized)
    lean(quantized)
    assert serialize(quantized) == before


def test_a_lean_file_is_inspected_like_the_other(digits_graph: ir.Model, quantized: ir.Model, tmp_path: Path) -> None:
    """Catches: lost layer names, MACs that hang on stored shapes, shared weights that are counted once."""
    for model in (digits_graph, quantized):
        save_graph(lean(model), tmp_path / "lean.onnx")
        assert graph_cost(load_graph(tmp_path / "lean.onnx")) == graph_cost(model)


@pytest.mark.usefixtures("untimed")
def test_a_lean_file_is_pressed_and_timed_again(digits_graph: ir.Model, data: Dataset, tmp_path: Path) -> None:
    """Catches: passes that need the names or shapes which were dropped; other weights chosen because of them."""
    named = {name: array[:128] for name, array in data.inputs.items()}
    np.savez(tmp_path / "data.npz", **named)  # type: ignore[arg-type]
    save_graph(digits_graph, tmp_path / "full.onnx")
    save_graph(lean(digits_graph), tmp_path / "lean.onnx")
    costs = []
    for name in ("full", "lean"):
        pruned, int8 = tmp_path / f"{name}-p.onnx", tmp_path / f"{name}-q.onnx"
        samples = str(tmp_path / "data.npz")
        foldpress.prune(tmp_path / f"{name}.onnx", pruned, data=samples, macs=0.8, samples=64)
        foldpress.quantize(pruned, int8, data=samples, target="x86", precision="static", samples=64)
        costs.append(foldpress.inspect(int8)["layers"])
    assert costs[0] == costs[1]
    rows = foldpress.bench([tmp_path / "full-q.onnx", tmp_path / "lean-q.onnx"], processes=1, seconds=0.1)
    assert all(row["p50_ms"] > 0 for row in rows)


def test_only_zero_points_of_biases_go_and_scales_are_shared() -> None:
    """Catches: a zero point that is not zero dropped; one of an activation, which onnxruntime's fusions ask for."""
    model = parse("""g (float[N, 2] x) => (float[N, 2] y)
        <float s = {0.5}, float t = {0.5}, uint8 z = {0}, uint8 o = {0}, int32[2] b = {3, 4}, int32[2] c = {3, 4},
         int32 zero = {0}, int32 one = {1}> {
            q = QuantizeLinear(x, s, z)  d = DequantizeLinear(q, t, o)
            e = DequantizeLinear(b, s, zero)  f = DequantizeLinear(c, t, one)
            u = Add(d, e)  y = Add(u, f) }""")
    result = apply([LeanFile()], model)
    count = [len([value for value in node.inputs if value is not None]) for node in result.model.graph]
    assert count == [3, 3, 2, 3, 2, 2]
    # One scale, one uint8 zero, the one that is not zero, and both biases: they are weights, and are counted.
    assert len(result.model.graph.initializers) == 5
    assert [entry.action for entry in result.log] == ["done", "declined"]
    feed = {"x": np.array([[0.3, 7.0]], np.float32)}
    before, after = (open_session(serialize(one)).run(None, feed)[0] for one in (model, result.model))
    assert np.array_equal(before, after)


def test_shapes_that_cannot_be_inferred_again_stay() -> None:
    """Catches: dropped shapes that onnxruntime fuses by; then sums are taken in another order."""
    model = parse("""g (float[N, 4] x, int64[2] size) => (float[N, 4] y)
        <float[N, 4] reshaped, float[N, 4] positive> {
            reshaped = Reshape(x, size)  positive = Relu(reshaped)  y = Neg(positive) }""")
    result = apply([LeanFile()], model)
    stored = ir.to_proto(result.model).graph.value_info
    assert len(stored) == 1  # what follows from it is inferred
    assert stored[0].name == ir.to_proto(result.model).graph.node[0].output[0]
    assert any("1 shapes" in entry.subject for entry in result.log)


def test_short_names_collide_with_nothing_and_layers_keep_theirs() -> None:
    """Catches: an input called `a` that a tensor is renamed to; names inside branches; an output left out, named."""
    model = parse("""g (float[1, 2] a, bool c) => (float[1, 2] b)
        <float[2, 2] d = {1, 2, 3, 4}, float[2, 2] e = {5, 6, 7, 8}> {
            f = MatMul(a, e)
            [named] inner = MatMul(f, d)
            kept, ignored = Split<axis = 1, num_outputs = 2>(inner)
            g = If(c) <then_branch = t () => (float[1, 2] h) { i = Neg(inner)  h = Neg(i) },
                       else_branch = u () => (float[1, 2] j) { j = MatMul(inner, e) }>
            b = Add(g, kept) }""")
    model.graph.node(2).outputs[1].name = ""
    result = lean(model)
    assert [node.name or "" for node in result.graph] == ["f", "named", "", "", ""]
    assert result.graph.node(2).outputs[1].name == ""
    names = [value.name for node in result.graph.all_nodes() for value in node.outputs if value.name]
    assert len(set(names)) == len(names)
    assert serialize(lean(result)) == serialize(result)
    for condition in (True, False):
        feed = {"a": np.array([[1.0, 2.0]], np.float32), "c": np.array(condition)}
        before, after = (open_session(serialize(one)).run(None, feed)[0] for one in (model, result))
        assert np.array_equal(before, after)


def test_notes_go() -> None:
    """Catches: an exporter's stack traces in a shipped file."""
    model = parse("g (float[N, 2] x) => (float[N, 2] y) { r = Relu(x)  y = Neg(r) }")
    model.doc_string = model.graph.doc_string = model.graph.node(0).doc_string = "secret"
    model.graph.inputs[0].doc_string = model.graph.node(0).outputs[0].doc_string = "secret"
    for owner in (model, model.graph, model.graph.node(0), model.graph.node(0).outputs[0], model.graph.outputs[0]):
        owner.metadata_props["from"] = "secret"
    assert b"secret" in serialize(model)
    assert b"secret" not in serialize(lean(model))


def test_commands_keep_metadata_when_asked(invoke: Invoke, classifier: Classifier, tmp_path: Path) -> None:
    """Catches: an option that does nothing; a file that is written past the pass."""
    prune = ("prune", classifier.net, "--method", "unstructured", "--sparsity", "0.5")
    quantize = ("quantize", classifier.net, "--target", "x86", "--precision", "static")
    for command in (prune, quantize):
        sizes = []
        for options in ((), ("--keep-metadata",)):
            result = invoke(*command, "-o", tmp_path / "out.onnx", "-d", classifier.data, "--samples", 64, *options)
            assert result.exit_code == 0, result.output
            proto = onnx.load(tmp_path / "out.onnx")
            assert bool(proto.graph.value_info) == bool(options)
            sizes.append((tmp_path / "out.onnx").stat().st_size)
        assert sizes[0] < sizes[1]


@pytest.mark.parametrize("keep", [False, True])
def test_a_run_writes_lean_files_unless_the_recipe_keeps_metadata(
    keep: bool, recipe: WriteRecipe, tmp_path: Path
) -> None:
    """Catches: a recipe's key that does nothing; an exported graph that loses its names; a log without the pass."""
    written = recipe(prune={"method": "unstructured", "sparsity": 0.2}, quantize={"keep_metadata": keep})
    foldpress.run(written, tmp_path / "out")
    for name in ("pruned.onnx", "quantized.onnx"):
        assert bool(onnx.load(tmp_path / "out" / name).graph.value_info) == keep
    exported = onnx.load(tmp_path / "out" / "exported.onnx").graph
    assert "hidden" in [output for node in exported.node for output in node.output]
    log = load_evidence(tmp_path / "out" / "evidence").facts["log"]
    passes = Counter(entry["pass"] for entry in log if entry["action"] == "done")
    assert passes["lean-file"] == (0 if keep else 2)


def test_clean_up_reads_a_lean_graph(digits_graph: ir.Model) -> None:
    """Catches: nodes that stay nameless or tensors without type in what later passes are given."""
    cleaned = apply(clean_up(), ir.from_proto(ir.to_proto(lean(digits_graph)))).model
    for node in cleaned.graph:
        assert node.name
        assert all(value.dtype is not None and value.shape is not None for value in node.outputs)
