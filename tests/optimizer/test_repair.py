"""Least squares and Gram matrices against the obvious: numpy's lstsq on the raw rows."""

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import pytest
import torch
from onnx import numpy_helper

from foldpress.data import Dataset
from foldpress.graph import initializer, serialize
from foldpress.optimizer.gram import collect_grams, features, rows
from foldpress.optimizer.groups import find_groups
from foldpress.optimizer.repair import consumer, refit, removal_order
from foldpress.runtime import open_session

RNG = np.random.default_rng(0)


def network(pads: str = "", weight: tuple[int, ...] = (5, 8, 3, 3)) -> ir.Model:
    text = f"a = Conv(x, w)  r = Relu(a)  y = Conv<{pads or 'strides=[1,1]'}>(r, v, c)"
    proto = onnx.parser.parse_model(
        f'<ir_version: 9, opset_import: ["" : 18]> g (float[N, 3, 8, 8] x) => (float[N, 5, H, W] y) {{ {text} }}'
    )
    for name, shape in {"w": (8, 3, 1, 1), "v": weight, "c": (5,)}.items():
        proto.graph.initializer.append(numpy_helper.from_array(RNG.standard_normal(shape).astype(np.float32), name))
    for node in proto.graph.node:
        node.name = node.output[0]
    model: ir.Model = ir.from_proto(onnx.shape_inference.infer_shapes(proto))
    return model


@pytest.mark.parametrize(
    "attributes",
    ["pads=[1,1,1,1]", "strides=[2,2], pads=[0,1,1,0]", "dilations=[2,2]", 'auto_pad="SAME_UPPER", strides=[2,2]'],
)
def test_patches_are_what_the_convolution_sums_over(attributes: str) -> None:
    """Catches: patches in another order than the weight, or other padding, stride and dilation than onnxruntime's."""
    model = network(attributes)
    slot = find_groups(model)[0][0].consumers[0]
    x = RNG.standard_normal((2, 3, 8, 8)).astype(np.float32)
    hidden = np.maximum(
        torch.conv2d(
            torch.from_numpy(x), torch.from_numpy(np.array(initializer(model, model.graph.initializers["w"])))
        ).numpy(),
        0,
    )
    weight = np.array(initializer(model, slot.value))
    patches = rows(slot, hidden, np.arange(2), 10**6)
    products = patches @ weight.reshape(5, -1).T + np.array(initializer(model, model.graph.initializers["c"]))
    wanted = open_session(serialize(model)).run(None, {"x": x})[0]
    np.testing.assert_allclose(products, wanted.transpose(0, 2, 3, 1).reshape(2, -1, 5), rtol=1e-4, atol=1e-4)
    assert patches.shape[-1] == features(slot) == 72


def test_grams_add_up_over_folds_and_equal_the_raw_product() -> None:
    """Catches: a sample counted in the wrong fold, or twice; the constant feature forgotten."""
    model = network("pads=[1,1,1,1]")
    slot = find_groups(model)[0][0].consumers[0]
    data = Dataset({"x": RNG.standard_normal((11, 3, 8, 8)).astype(np.float32)})
    numbers = np.stack([np.arange(11) % 3, np.arange(11) % 2])
    statistics = collect_grams(model, [slot], data, numbers)
    hidden = np.maximum(
        torch.conv2d(
            torch.from_numpy(data.batch(slice(None))["x"]),
            torch.from_numpy(np.array(initializer(model, model.graph.initializers["w"]))),
        ).numpy(),
        0,
    )
    for repeat, fold in ((0, 0), (0, 2), (1, 1)):
        chosen = np.flatnonzero(numbers[repeat] != fold)
        raw = rows(slot, hidden[chosen], chosen).reshape(-1, 72).astype(np.float64)
        with_one = np.hstack([raw, np.ones((len(raw), 1))])
        np.testing.assert_allclose(statistics.without(fold, repeat)["y"], with_one.T @ with_one, rtol=1e-4, atol=1e-2)


def test_refit_is_the_least_squares_solution() -> None:
    """Catches: a repair that is worse than numpy's own on the rows themselves; a bias left as it was."""
    model = network("pads=[1,1,1,1]")
    group = find_groups(model)[0][0]
    slot = group.consumers[0]
    data = Dataset({"x": RNG.standard_normal((64, 3, 8, 8)).astype(np.float32)})
    grams = collect_grams(model, [slot], data, np.zeros((1, 64), np.intp)).all()
    hidden = np.maximum(
        torch.conv2d(
            torch.from_numpy(data.batch(slice(None))["x"]),
            torch.from_numpy(np.array(initializer(model, model.graph.initializers["w"]))),
        ).numpy(),
        0,
    )
    raw = rows(slot, hidden, np.arange(64)).reshape(-1, 72).astype(np.float64)
    weight, bias = (
        np.array(initializer(model, slot.value)).reshape(5, -1),
        np.array(initializer(model, model.graph.initializers["c"])),
    )
    target = raw @ weight.T + bias
    keep = np.array([0, 1, 3, 4, 6])
    columns = (keep[:, None] * 9 + np.arange(9)).ravel()
    basis = np.hstack([raw[:, columns], np.ones((len(raw), 1))])
    best = np.linalg.lstsq(basis, target, rcond=None)[0]
    problem = consumer(model, slot, grams["y"])
    refit(model, problem, problem.without(np.setdiff1d(np.arange(8), keep)))
    mine = np.array(initializer(model, slot.value)).reshape(5, -1)
    assert not np.delete(mine, columns, axis=1).any()
    repaired = raw @ mine.T + np.array(initializer(model, model.graph.initializers["c"]))
    floor = np.square(basis @ best - target).mean()
    assert np.square(repaired - target).mean() <= 1.01 * floor
    zeroed = raw[:, columns] @ weight[:, columns].T + bias
    assert floor < 0.7 * np.square(zeroed - target).mean()


def test_the_predicted_error_is_the_true_one() -> None:
    """Catches: rank updates that drift from refitting from scratch after every removal."""
    model = network("pads=[1,1,1,1]")
    slot = find_groups(model)[0][0].consumers[0]
    data = Dataset({"x": RNG.standard_normal((64, 3, 8, 8)).astype(np.float32)})
    problem = consumer(model, slot, collect_grams(model, [slot], data, np.zeros((1, 64), np.intp)).all()["y"])
    order = removal_order([problem], channels=8, chunk=1, least=1)
    gone: list[int] = []
    for removed, error in order:
        gone.extend(map(int, removed))
        kept = np.append(problem.without(np.array(gone)), 72)
        h, w = problem.hessian, problem.weight
        refitted = np.zeros_like(w)
        refitted[kept] = np.linalg.solve(h[np.ix_(kept, kept)], h[kept] @ w)
        difference = w - refitted
        true = np.sum(difference * (h @ difference)) / problem.energy
        assert error == pytest.approx(true, rel=1e-6)
