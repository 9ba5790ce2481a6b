import numpy as np
import pytest

from depthwise import network, samples
from foldpress.graph import copy_graph
from foldpress.optimizer.chains import find_chains, rescale
from foldpress.optimizer.channels import channels_of, joined, peaks, split_channels
from foldpress.optimizer.histogram import BINS, Histograms, collect_histograms
from foldpress.optimizer.statistics import Ranges, collect_ranges

NUMBERS = np.zeros((1, 60), np.intp)


@pytest.mark.parametrize("scale", [np.ones(8), np.geomspace(0.3, 5, 8)])
def test_statistics_follow_without_running_the_rescaled_network(scale: np.ndarray) -> None:
    """Catches: a channel divided by another one's scale, counts that get lost, extremes that are not the tensor's."""
    model, data = network(), samples()
    chain = find_chains(model)[0][0]
    parts = channels_of(chain)
    names = [name for one in parts for name in one.names]
    found = collect_histograms(split_channels(model, parts), [*names, "c2"], data, NUMBERS).all()
    ours = joined(found, dict.fromkeys(parts, scale))
    rescaled = copy_graph(model)
    rescale(rescaled, chain, scale)
    assert isinstance(ours, Histograms)
    theirs = collect_histograms(rescaled, list(ours.ranges.tensors), data, NUMBERS).all()
    assert ours.ranges.tensors == ("c2", "c0", "r0")
    np.testing.assert_allclose(ours.ranges.minimum, theirs.ranges.minimum, rtol=1e-5)
    np.testing.assert_allclose(ours.ranges.maximum, theirs.ranges.maximum, rtol=1e-5)
    assert ours.counts.sum(1).tolist() == theirs.counts.sum(1).tolist()
    # Each bin of a channel moves as one, so a value may lie one bin off: compare how many lie below every 16th edge.
    below = [np.cumsum(one.counts, axis=1)[:, 15::16] for one in (ours, theirs)]
    assert np.abs(below[0] - below[1]).max() < 0.01 * ours.counts[1].sum()
    assert ours.counts.shape == (3, BINS)
    zeros = [one.counts[2, 0] for one in (ours, theirs)]
    assert zeros[0] == pytest.approx(zeros[1], rel=0.02)


def test_extremes_alone_follow_too() -> None:
    """Catches: min/max calibration, which has no histograms, left out."""
    model, data = network(), samples()
    parts = channels_of(find_chains(model)[0][0])
    names = [name for one in parts for name in one.names]
    found = collect_ranges(split_channels(model, parts), names, data, NUMBERS).all()
    ours = joined(found, dict.fromkeys(parts, np.ones(8)))
    theirs = collect_ranges(model, ["c0", "r0"], data, NUMBERS).all()
    assert isinstance(ours, Ranges)
    np.testing.assert_array_equal([ours.minimum, ours.maximum], [theirs.minimum, theirs.maximum])
    assert peaks(found, parts[1]).max() == theirs.maximum[1]
