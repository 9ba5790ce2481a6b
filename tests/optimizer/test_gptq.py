import numpy as np
import pytest
from numpy.typing import NDArray

from depthwise import network, outputs, samples
from foldpress.graph import copy_graph
from foldpress.optimizer.gptq import Gptq, rounded_by_gram, squared_error
from foldpress.optimizer.gram import collect_grams
from foldpress.optimizer.histogram import collect_histograms
from foldpress.optimizer.layers import weighted_layers
from foldpress.optimizer.passes import apply
from foldpress.optimizer.ranges import choose_ranges
from foldpress.optimizer.static_int8 import StaticInt8, tensors_to_calibrate
from foldpress.optimizer.targets import TARGETS
from foldpress.optimizer.weight_grid import grid_scales, levels_of, rounded

Matrix = NDArray[np.float64]


def problem(inputs: int = 6, correlated: float = 0.9) -> tuple[Matrix, Matrix]:
    """A weight, [1, 4, D], and E[x xᵀ] of correlated inputs, [1, D, D]."""
    random = np.random.default_rng(0)
    x = random.normal(size=(500, inputs)) + 2 * correlated * random.normal(size=(500, 1))
    return random.normal(size=(1, 4, inputs)), (x.T @ x / 500)[None]


def slowly(weight: Matrix, hessian: Matrix, levels: int) -> Matrix:
    """Optimal brain surgeon, one weight after the other, each time with the inverse for the weights that are left."""
    size = len(hessian)
    damped = hessian + np.eye(size) * 0.01 * np.trace(hessian) / size
    result = np.empty_like(weight)
    for row, original in enumerate(weight):
        left, scale = original.copy(), np.float32(np.abs(original).max() / levels).astype(np.float64)
        for column in range(size):
            peak = column == np.abs(original).argmax()
            result[row, column] = (
                original[column] if peak else np.round(left[column] / scale).clip(-levels, levels) * scale
            )
            inverse = np.linalg.inv(damped[column:, column:])
            left[column:] -= (left[column] - result[row, column]) / inverse[0, 0] * inverse[0]
    return result


@pytest.mark.parametrize("levels", [7, 127])
def test_agrees_with_the_surgeon_step_by_step(levels: int) -> None:
    """Catches: a wrong triangle of the factor, or an update that reaches columns already rounded."""
    weight, hessian = problem()
    np.testing.assert_allclose(rounded_by_gram(weight, hessian, levels)[0], slowly(weight[0], hessian[0], levels))


def test_loses_less_than_rounding_to_nearest() -> None:
    """Catches: a correction of the wrong sign."""
    weight, hessian = problem(40)
    solved, nearest = rounded_by_gram(weight, hessian, 7), rounded(weight, 7)
    assert squared_error(solved - weight, hessian) < 0.5 * squared_error(nearest - weight, hessian)


@pytest.mark.parametrize("target", ["x86-vnni", "x86"])
def test_the_quantizer_keeps_every_weight_bit_for_bit(target: str) -> None:
    """Catches: a scale that the quantizer finds anew, off this grid, in any layout, grouped ones and reduced ranges too."""
    model, data = network(), samples()
    layers, _ = weighted_layers(model)
    numbers = np.zeros((1, len(data)), np.intp)
    grams = collect_grams(model, [layer.slot for layer in layers], data, numbers).all()
    result = apply([Gptq(grams, levels_of(TARGETS[target]))], model)
    done = {entry.subject for entry in result.log if entry.action == "done"}  # the others are rounded to nearest
    assert len(done) >= 5
    found = collect_histograms(result.model, tensors_to_calibrate(result.model), data, numbers).all()
    ranges, _ = choose_ranges(found, "minmax", TARGETS[target])
    quantized = apply([StaticInt8(ranges, TARGETS[target])], result.model).model
    initializers = quantized.graph.initializers.items()
    weights = {name: value.const_value for name, value in initializers if value.const_value is not None}
    for layer in [layer for layer in weighted_layers(result.model)[0] if layer.name in done]:
        name, weight = str(layer.weight.name), layer.matrices(result.model)
        stored = {part: weights[f"{name}_{part}"].numpy() for part in ("quantized", "scale")}
        assert stored["scale"].tobytes() == grid_scales(weight, levels_of(TARGETS[target])).tobytes()
        integers = (
            stored["quantized"].T if layer.transposed else stored["quantized"].reshape(len(stored["quantized"]), -1)
        )
        restored = integers.astype(np.float32) * stored["scale"][:, None]
        np.testing.assert_allclose(restored.reshape(weight.shape), weight, rtol=2e-7)


def test_degenerate_layers_leave_the_graph_whole() -> None:
    """Catches: division by a zero scale, a matrix that has no inverse, NaN in a weight."""
    w2 = np.random.default_rng(0).normal(size=(6, 8, 1, 1)).astype(np.float32)
    w2[0] = 0
    model, data = network(w0=np.zeros((8, 2, 3, 3), np.float32), b0=np.zeros(8, np.float32), w2=w2), samples()
    layers, _ = weighted_layers(model)
    grams = collect_grams(model, [layer.slot for layer in layers[1:]], data, np.zeros((1, len(data)), np.intp)).all()
    result = apply([Gptq(grams, 127)], model)
    details = {entry.subject: entry.detail for entry in result.log}
    assert details["node_c0"] == "its inputs were not observed"
    assert "zero on every calibration sample" in details["node_c1"]
    assert np.isfinite(outputs(result.model, data)).all()
    np.testing.assert_allclose(outputs(result.model, data), outputs(model, data), atol=0.1)


def test_skipped_layers_are_left() -> None:
    """Catches: a layer rounded that stays float."""
    model, data = network(), samples()
    layers, _ = weighted_layers(model)
    grams = collect_grams(model, [layer.slot for layer in layers], data, np.zeros((1, len(data)), np.intp)).all()
    result = Gptq(grams, 127, skipped={"node_c2"})(copy_graph(model))
    done = {entry.subject for entry in result.log if entry.action == "done"}
    changed = {
        layer.name for layer in layers if not np.array_equal(layer.matrices(result.model), layer.matrices(model))
    }
    assert changed == done
    assert "node_c2" not in done
    assert done
