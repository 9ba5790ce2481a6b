"""Sessions: they run where they were asked to, or not at all, and outputs keep the sample axis."""

import numpy as np
import onnx.parser
import onnxruntime as ort
import pytest

from foldpress.data import Dataset
from foldpress.errors import GraphError, ProviderError
from foldpress.providers import CPU, check_provider
from foldpress.runtime import open_session, predict, run
from foldpress.sessions import placement


def graph(body: str, output: str = "float[N, 3] y", given: str = "float[N, 3] x") -> bytes:
    text = f"""<ir_version: 9, opset_import: ["" : 18]> g ({given}) => ({output}) {{ {body} }}"""
    return bytes(onnx.parser.parse_model(text).SerializeToString())


def test_unknown_and_absent_providers_are_told_apart() -> None:
    """Catches a fallback to the CPU with a mere warning; the message says what to install, or the nearest name."""
    with pytest.raises(ProviderError, match=f"did you mean {CPU}"):
        check_provider("CPUExecutionProvidr")
    absent = "QNNExecutionProvider"
    if absent in ort.get_all_providers() and absent not in ort.get_available_providers():
        with pytest.raises(ProviderError, match="install onnxruntime-qnn"):
            open_session(graph("y = Relu(x)"), provider=absent)
    with pytest.raises(ProviderError, match=CPU):
        open_session(graph("y = Relu(x)"), provider="NoSuchThing")
    check_provider(CPU)


def test_a_provider_that_would_hand_nodes_to_the_cpu_is_refused() -> None:
    """Catches work placed on another provider than the one that the report names."""
    others = [name for name in ort.get_available_providers() if name != CPU]
    for name in others:
        with pytest.raises((ProviderError, GraphError)):
            open_session(graph("y = Relu(x)"), provider=name)


def test_placement_sums_to_one() -> None:
    """Catches shares of something else than all nodes."""
    session = open_session(graph("a = Erf(x) b = Sin(a) y = Cos(b)"), threads=1)
    assert list(placement(session)) == [CPU]
    assert sum(placement(session).values()) == pytest.approx(1)


def test_damaged_graphs_are_refused() -> None:
    """Catches onnxruntime's own exception, which would read as a broken job."""
    for broken in (b"", b"no graph", graph("y = Relu(x)")[:-20], graph("y = NoSuchOperator(x)")):
        with pytest.raises(GraphError, match="cannot load the graph"):
            open_session(broken)


def test_predictions_are_those_of_one_run_in_any_batch_size() -> None:
    """Catches samples lost, doubled or reordered between batches, and a selection that is ignored."""
    values = np.random.default_rng(0).normal(size=(11, 3)).astype(np.float32)
    data = Dataset({"x": values}).select(np.arange(10, 1, -1))
    session = open_session(graph("y = Relu(x)"), threads=1)
    for batch in (1, 4, 64):
        (found,) = predict(session, data, batch)
        assert np.array_equal(found, np.maximum(values[10:1:-1], 0))


@pytest.mark.parametrize(
    ("body", "output"),
    [("y = ReduceMean<keepdims = 0>(x)", "float y"), ("y = Transpose<perm = [1, 0]>(x)", "float[3, N] y"),
     ("y = ReduceSum<keepdims = 1>(x)", "float[1, 1] y")],
)  # fmt: skip
def test_an_output_without_a_sample_axis_is_refused(body: str, output: str) -> None:
    """Catches an output that is the same for all samples, or lies on its side, scored as if each sample had a row."""
    with pytest.raises(GraphError, match="first axis must count samples"):
        run(open_session(graph(body, output)), {"x": np.zeros((5, 3), np.float32)})


def test_a_graph_that_fails_on_real_samples_is_a_wrong_request() -> None:
    """Catches a shape that only shows when it runs; the message names the shapes that were fed."""
    session = open_session(graph("s = Constant<value_ints = [7, 3]>() y = Reshape(x, s)"))
    with pytest.raises(GraphError, match=r"x \[5, 3\]"):
        run(session, {"x": np.zeros((5, 3), np.float32)})
