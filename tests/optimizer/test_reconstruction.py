"""Layer-by-layer repair against the obvious: numpy's lstsq on every patch, one layer after the other."""

from itertools import pairwise

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import pytest
import torch
from onnx import numpy_helper

from foldpress.data import Dataset, Indices
from foldpress.graph import copy_graph, initializer, serialize, set_initializer
from foldpress.optimizer import reconstruction
from foldpress.optimizer.places import places
from foldpress.optimizer.reconstruction import reconstruct, solve
from foldpress.runtime import open_session

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 6, 8, 8)).astype(np.float32)
KEEP = np.array([0, 2, 3])
COLUMNS = (KEEP[:, None] * 9 + np.arange(9)).ravel()


def network(depthwise: bool = False, last: str = "Neg") -> ir.Model:
    """A residual block whose six inner channels are consumed by `second`, and a convolution behind it."""
    text = f"""<ir_version: 9, opset_import: ["" : 18]> g (float[N, 6, 8, 8] x) => (float[N, 6, 8, 8] y) {{
        first = Conv<pads=[1,1,1,1]>(x, w1, b1)   inner = Relu(first)
        second = Conv<pads=[1,1,1,1]>(inner, w2)  sum = Add(second, x)  out = {last}(sum)
        third = Conv<pads=[1,1,1,1]{", group=6" if depthwise else ""}>(out, w3, b3)  y = Neg(third) }}"""
    proto = onnx.parser.parse_model(text)
    stored = {"w1": (6, 6, 3, 3), "b1": (6,), "w2": (6, 6, 3, 3), "w3": (6, 1 if depthwise else 6, 3, 3), "b3": (6,)}
    generator = np.random.default_rng(1)
    for name, shape in stored.items():
        array = generator.normal(scale=0.2, size=shape).astype(np.float32)
        proto.graph.initializer.append(numpy_helper.from_array(array, name))
    for node in proto.graph.node:
        node.name = node.output[0]
    model: ir.Model = ir.from_proto(onnx.shape_inference.infer_shapes(proto))
    return model


def without_channels(model: ir.Model) -> ir.Model:
    model = copy_graph(model)
    weight = np.array(weight_of(model, "w2"))
    weight[:, np.setdiff1d(np.arange(6), KEEP)] = 0
    set_initializer(model, "w2", weight)
    return model


def weight_of(model: ir.Model, name: str) -> np.ndarray:
    found = initializer(model, model.graph.initializers[name])
    assert found is not None
    return found


def value(model: ir.Model, name: str) -> np.ndarray:
    model = copy_graph(model)
    model.graph.outputs[:] = [node.outputs[0] for node in model.graph if node.outputs[0].name == name]
    found: np.ndarray = open_session(serialize(model)).run(None, {"x": X})[0]
    return found


def patches(images: np.ndarray) -> np.ndarray:
    """[N, C, 8, 8] to [N · 64, C · 9], float64."""
    found = torch.nn.functional.unfold(torch.from_numpy(images.astype(np.float64)), 3, padding=1)
    return found.transpose(1, 2).reshape(-1, found.shape[1]).numpy()


def by_place(images: np.ndarray) -> np.ndarray:
    return np.moveaxis(images, 1, -1).reshape(-1, images.shape[1]).astype(np.float64)


def best(inputs: np.ndarray, target: np.ndarray) -> np.ndarray:
    """What the best weights and bias give."""
    basis = np.hstack([inputs, np.ones((len(inputs), 1))])
    return np.asarray(basis @ np.linalg.lstsq(basis, target, rcond=None)[0])


def repaired(original: ir.Model, kept: dict[str, Indices]) -> ir.Model:
    model = without_channels(original)
    reconstruct(original, model, kept, Dataset({"x": X}))
    return model


def test_each_layer_is_the_best_for_what_the_layers_before_it_give(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches: targets from the damaged network; inputs from the sound one; a branch that ignores what it is added to."""
    monkeypatch.setattr(reconstruction, "_RIDGE", 1e-9)
    monkeypatch.setattr(reconstruction, "fit_together", lambda *_: None)
    original = network()
    model = repaired(original, {"second": COLUMNS})
    assert not weight_of(model, "w2")[:, [1, 4, 5]].any()
    other = by_place(X)
    wanted = best(patches(value(model, "inner"))[:, COLUMNS], by_place(value(original, "sum")) - other)
    np.testing.assert_allclose(by_place(value(model, "sum")) - other, wanted, atol=1e-4)
    wanted = best(patches(value(model, "out")), by_place(value(original, "third")))
    np.testing.assert_allclose(by_place(value(model, "third")), wanted, atol=1e-4)
    np.testing.assert_array_equal(weight_of(model, "w1"), weight_of(original, "w1"))


def test_a_depthwise_layer_is_repaired_channel_by_channel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches: groups mixed up; a channel that is given the patch of another."""
    monkeypatch.setattr(reconstruction, "_RIDGE", 1e-9)
    original = network(depthwise=True)
    model = repaired(original, {"second": COLUMNS})
    given, target = value(model, "out"), by_place(value(original, "third"))
    wanted = [best(patches(given[:, [channel]]), target[:, [channel]]) for channel in range(6)]
    np.testing.assert_allclose(by_place(value(model, "third")), np.hstack(wanted), atol=1e-4)


def test_what_lies_before_the_cut_is_left_alone() -> None:
    """Catches: layers changed that no cut has touched, or a layer behind one that is left out; a rectifier overlooked."""
    for last, rectified in (("Neg", False), ("Relu", True)):
        found = places(network(last=last), {"second": COLUMNS})
        assert [(place.layer.name, place.value.name, place.rectified) for place in found] == [
            ("second", "sum", rectified),
            ("third", "third", False),
        ]


@pytest.mark.parametrize("ridge", [1e-4, 0.1])
def test_the_ridge_keeps_the_change_small(ridge: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches: a ridge that depends on the number of rows; groups that share one solution."""
    monkeypatch.setattr(reconstruction, "_RIDGE", ridge)
    x, given, wanted = (RNG.normal(size=(200, 2, size)).astype(np.float32) for size in (5, 3, 3))
    change = solve(x, given, wanted, rectified=False)
    for group in range(2):
        rows, gap = x[:, group].astype(np.float64), (wanted - given)[:, group]
        weight = np.sqrt(ridge * np.square(rows).sum() / 5)
        stacked = np.vstack([rows, weight * np.eye(5)]), np.vstack([gap, np.zeros((5, 3))])
        np.testing.assert_allclose(change[group], np.linalg.lstsq(*stacked, rcond=None)[0], rtol=1e-3, atol=1e-5)


def test_behind_a_rectifier_only_what_passes_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches: effort spent on how far below zero a value is; rounds that make it worse."""
    x, given = (RNG.normal(size=(500, 1, size)).astype(np.float32) for size in (6, 4))
    reachable = given + x @ RNG.normal(size=(6, 4)).astype(np.float32)
    wanted = np.where(reachable > 0, reachable, -np.abs(RNG.normal(scale=10, size=reachable.shape))).astype(np.float32)
    errors = []
    for rounds in (0, 1, 2, 100):
        monkeypatch.setattr(reconstruction, "_ROUNDS", rounds)
        monkeypatch.setattr(reconstruction, "_RIDGE", 1e-6)
        reached = given + x @ solve(x, given, wanted, rectified=True)
        errors.append(float(np.square(np.where(wanted > 0, reached - wanted, np.maximum(reached, 0))).sum()))
    assert all(after < 0.7 * before for before, after in pairwise(errors))
    assert errors[-1] < 1e-3 * errors[0]
