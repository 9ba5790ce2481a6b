"""SmoothQuant: move the spread between channels from a normalization's output into the weights that consume it.

Xiao et al. 2022, arXiv:2211.10438, equation 4: s_c = max |X_c|^α / max |W_c|^(1 − α), which X is divided by, inside the layer
normalization's weight and bias, and the input c of W is multiplied by. Layers that read the same X (queries, keys, values) share
its scales: W_c is the input c of them all.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from foldpress.optimizer.chains import Chain, Scales
from foldpress.optimizer.equalization import bounded
from foldpress.optimizer.layers import Matrices

_ALPHA = 0.5  # the paper's


def smoothing_scales(
    chain: Chain, peak: NDArray[np.float64], weights: Sequence[Matrices], alpha: float = _ALPHA
) -> Scales:
    """What to divide each channel by, [C]; 1 for a channel that is always zero, or that no output reads.

    Args:
        chain: from a normalization to layers.
        peak: the largest magnitude of each channel, [C].
        weights: those layers' own, each [G, M, D].
        alpha: the share of the spread that moves into the weights.
    """
    read = np.zeros(chain.channels)
    for consumer, weight in zip(chain.consumers, weights, strict=True):
        np.maximum.at(read, chain.columns(consumer, weight.shape[-1]), np.abs(weight).max(1))
    usable = (peak > 0) & (read > 0)
    scales = np.divide(peak**alpha, read ** (1 - alpha), where=usable, out=np.ones_like(peak))
    return bounded(scales, usable)
