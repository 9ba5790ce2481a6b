import os
from typing import Any

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import pytest

import depthwise
from foldpress.data import Dataset
from foldpress.errors import GraphError, OutputError
from foldpress.optimizer.activations import observe
from foldpress.optimizer.gram import GramStatistics, collect_grams
from foldpress.optimizer.layers import weighted_layers
from foldpress.optimizer.structured import layers_to_observe

RNG = np.random.default_rng(0)
WEIGHTS = [RNG.normal(scale=0.2, size=(8, channels, 3, 3)).astype(np.float32) for channels in (3, 8, 8)]
DATA = Dataset({"x": RNG.normal(size=(23, 3, 8, 8)).astype(np.float32)})
NUMBERS = np.stack([np.arange(23) % 3, np.arange(23) % 2])


def network(samples: str = "N") -> ir.Model:
    """Three convolutions in a row, of which pruning observes the inputs of two."""
    text = f"""<ir_version: 9, opset_import: ["" : 18]> g (float[{samples}, 3, 8, 8] x) => (float[{samples}, 8, 2, 2] y) {{
        a = Conv (x, w0)  b = Relu (a)  c = Conv (b, w1)  d = Relu (c)  y = Conv (d, w2) }}"""
    proto = onnx.parser.parse_model(text)
    proto.graph.initializer.extend(onnx.numpy_helper.from_array(w, f"w{i}") for i, w in enumerate(WEIGHTS))
    for number, node in enumerate(proto.graph.node):
        node.name = f"node{number}"
    model: ir.Model = ir.from_proto(onnx.shape_inference.infer_shapes(proto))
    return model


def collect(model: ir.Model, data: Dataset = DATA, **limits: Any) -> GramStatistics:
    return collect_grams(model, layers_to_observe(model), data, NUMBERS[:, : len(data)], **limits)


def test_matrices_in_a_file_are_the_same() -> None:
    """Catches: a matrix that shares its file with another, or is not zero at first; a sum that stays in the file."""
    inside, outside = collect(network()), collect(network(), matrix_bytes=1000)
    assert len(inside.grams) == 2
    for name, gram in outside.grams.items():
        assert isinstance(gram, np.memmap)
        assert gram.tobytes() == inside.grams[name].tobytes()
    found = outside.without(1, 1)
    assert all(type(total) is np.ndarray for total in found.values())


def test_no_room_for_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches: a full disk that ends the process in the midst of a sum."""

    def full(*_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OutputError, match=r"no room for Gram matrices of .* GB"):
        collect(network(), matrix_bytes=1000)


@pytest.mark.parametrize("samples", ["N", "1"])
def test_small_batches_and_groups_agree(samples: str) -> None:
    """Catches: a layer left out of every group; a graph that takes one sample at a time fed with more."""
    whole = collect(network()).all()
    for budget in (10**4, 10**3):
        for name, gram in collect(network(samples), budget=budget).all().items():
            np.testing.assert_allclose(gram, whole[name], rtol=1e-4, atol=1e-2)


def test_leaving_out_is_the_sum_of_the_others() -> None:
    """Catches: a fold counted twice, or of another repeat."""
    statistics = collect(network())
    for name, gram in statistics.grams.items():
        np.testing.assert_array_equal(statistics.without(0, 0)[name], gram[0, 1] + gram[0, 2])
        np.testing.assert_array_equal(statistics.without(0, 1)[name], gram[1, 1])
        np.testing.assert_array_equal(statistics.all()[name], gram[0, 0] + gram[0, 1] + gram[0, 2])


def test_an_overflow_is_named_where_it_is_used() -> None:
    """Catches: pruning by a matrix of NaN; a fold refused for another fold's overflow."""
    x = np.array(DATA.inputs["x"])
    x[3] = 3e38  # of fold 0 in the first repeat
    statistics = collect(network(), Dataset({"x": x}))
    with pytest.raises(GraphError, match="the inputs of node2, node4 overflow float32, or hold NaN"):
        statistics.all()
    assert np.isfinite(statistics.without(0)["node2"]).all()


def test_grouped_convolutions_and_matrices_have_their_own_sums() -> None:
    """Catches: places taken for groups, channels of one group in the matrix of another, samples on another axis than the first."""
    model, data = depthwise.network(), depthwise.samples(5)
    slots = {layer.name: layer.slot for layer in weighted_layers(model)[0]}
    chosen = [slots[name] for name in ("node_c1", "node_c3", "node_m")]
    grams = collect_grams(model, chosen, data, np.zeros((1, 5), np.intp)).all()
    values = dict(zip(("r2", "f"), fetched(model, data, ("r2", "f")), strict=True))
    for group in range(2):
        x = values["r2"][:, 3 * group : 3 * group + 3].transpose(0, 2, 3, 1).reshape(-1, 3)
        x = np.hstack([x, np.ones((len(x), 1), np.float32)]).astype(np.float64)
        np.testing.assert_allclose(grams["node_c3"][group], x.T @ x, rtol=1e-5, atol=1e-4)
    x = np.hstack([values["f"], np.ones((5, 1), np.float32)]).astype(np.float64)
    np.testing.assert_allclose(grams["node_m"], x.T @ x, rtol=1e-5, atol=1e-4)
    assert grams["node_c1"].shape == (8, 10, 10)


def fetched(model: ir.Model, data: Dataset, names: tuple[str, ...]) -> list[Any]:
    """The whole of some tensors."""
    found = {names[number]: values for number, _, values in observe(model, names, data, np.arange(len(data)))}
    return [found[name] for name in names]
