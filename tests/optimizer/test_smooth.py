import numpy as np

from depthwise import network
from foldpress.optimizer.chains import find_chains
from foldpress.optimizer.smooth import smoothing_scales


def test_is_the_papers_formula() -> None:
    """Catches: powers swapped, or the weight's maximum taken over inputs instead of outputs."""
    model = network()
    chain = next(chain for chain in find_chains(model)[0] if chain.name == "node_m → node_y")
    weight, peak = chain.consumers[0].matrices(model), np.array([1.0, 10, 2, 0.1, 5])
    wanted = np.array([peak[c] ** 0.8 / np.abs(weight[0, :, c]).max() ** 0.2 for c in range(5)])
    found = smoothing_scales(chain, peak, [weight], alpha=0.8)
    np.testing.assert_allclose(found, wanted / np.exp(np.log(wanted).mean()))


def test_channels_that_are_zero_or_that_nothing_reads() -> None:
    """Catches: a scale of zero or infinity."""
    model = network()
    chain = next(chain for chain in find_chains(model)[0] if chain.name == "node_m → node_y")
    weight = chain.consumers[0].matrices(model)
    weight[0, :, 3] = 0
    scales = smoothing_scales(chain, np.array([0, 1.0, 2, 3, 4]), [weight])
    assert scales[0] == 1
    assert scales[3] == 1
    assert np.isfinite(scales).all()
