import numpy as np
import onnx_ir as ir
import pytest

from depthwise import network, samples
from foldpress.data import Dataset, Indices
from foldpress.optimizer.activations import observe
from foldpress.optimizer.layers import Layer, weighted_layers
from foldpress.optimizer.means import MeanAccumulator, MeanStatistics
from foldpress.optimizer.one_pass import accumulate

NUMBERS = np.stack([np.arange(60) % 4, np.arange(60) // 20])


def collect_means(model: ir.Model, layers: list[Layer], data: Dataset, numbers: Indices) -> MeanStatistics:
    means = MeanAccumulator(layers, numbers)
    accumulate(model, [means], data, numbers)
    return means.statistics()


def test_means_are_those_of_the_inputs() -> None:
    """Catches: a mean over the wrong axis, or samples that count twice."""
    model, data = network(), samples()
    layers, _ = weighted_layers(model)
    found = collect_means(model, layers, data, NUMBERS).all()
    for layer in layers:
        parts = [values for _, _, values in observe(model, [str(layer.input.name)], data, np.arange(60))]
        whole = np.concatenate(parts).astype(np.float64)
        axes = tuple(axis for axis in range(whole.ndim) if axis != layer.channel_axis % whole.ndim)
        np.testing.assert_allclose(found[layer.name], whole.mean(axes), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(("repeat", "fold"), [(0, 2), (1, 0)])
def test_leaving_a_fold_out_is_collecting_without_it(repeat: int, fold: int) -> None:
    """Catches: the judged fold in the mean that its graph is corrected by."""
    model, data = network(), samples()
    layers, _ = weighted_layers(model)
    rest = np.flatnonzero(NUMBERS[repeat] != fold)
    without = collect_means(model, layers, data, NUMBERS).without(fold, repeat)
    alone = collect_means(model, layers, data.select(rest), np.zeros((1, len(rest)), np.intp)).all()
    for name, mean in without.items():
        np.testing.assert_allclose(mean, alone[name], rtol=1e-6, atol=1e-7)
