import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from depthwise import network, outputs, samples
from foldpress.optimizer.chains import Chain, find_chains
from foldpress.optimizer.channels import channels_of, peaks, split_channels
from foldpress.optimizer.equalization import Rescale, bounded, equalizing_scales
from foldpress.optimizer.passes import apply
from foldpress.optimizer.statistics import collect_ranges


def observed(model: ir.Model, chain: Chain) -> NDArray[np.float64]:
    """The largest magnitude of each channel before the chain's last layer."""
    one = channels_of(chain)[-1]
    found = collect_ranges(split_channels(model, [one]), one.names, samples(), np.zeros((1, 60), np.intp)).all()
    return peaks(found, one)


def test_channels_before_a_depthwise_layer_get_one_range() -> None:
    """Catches: scales applied the wrong way round, which double the spread instead of removing it."""
    model = network()
    chain = find_chains(model)[0][0]
    scales = equalizing_scales(chain, observed(model, chain))
    result = apply([Rescale({chain.name: scales}, {})], model)
    after = observed(result.model, find_chains(result.model)[0][0])
    np.testing.assert_allclose(after, after[0], rtol=1e-4)
    np.testing.assert_allclose(outputs(result.model, samples()), outputs(model, samples()), rtol=1e-4, atol=1e-4)
    assert result.log[0].action == "done"


def test_before_any_other_layer_the_spread_is_halved() -> None:
    """Catches: weights under one scale made as uneven as the activations were."""
    chain = find_chains(network())[0][1]
    np.testing.assert_allclose(equalizing_scales(chain, np.array([1.0, 16, 4, 4, 4, 4, 4, 4])), [0.5, 2, *[1] * 6])


def test_silent_and_extreme_channels() -> None:
    """Catches: division by a channel that is always zero, scales that overflow weights, a layer that never fires."""
    chain = find_chains(network())[0][0]
    scales = equalizing_scales(chain, np.array([0, 1e-30, 1, 1, 1, 1, 1, 1]))
    assert scales[0] == 1
    assert np.isfinite(scales).all()
    assert scales.min() == 2**-10
    np.testing.assert_array_equal(bounded(np.zeros(3), np.zeros(3, bool)), np.ones(3))


def test_a_dead_channel_leaves_the_graph_as_it_is() -> None:
    """Catches: NaN where a channel of the network never fires."""
    bias = np.zeros(8, np.float32)
    bias[2] = -100
    model = network(b0=bias)
    chain = find_chains(model)[0][0]
    peak = observed(model, chain)
    assert peak[2] == 0
    result = apply([Rescale({chain.name: equalizing_scales(chain, peak)}, {"other": "why"})], model)
    np.testing.assert_allclose(outputs(result.model, samples()), outputs(model, samples()), rtol=1e-4, atol=1e-4)
    assert [entry.action for entry in result.log] == ["declined", "done"]
    assert "1 left" in result.log[1].detail
