"""Round groups of weights to integers of few bits, each group with the scale of least squared error.

For integers q the best scale is s = ⟨w, q⟩ / ⟨q, q⟩, and what it leaves is ⟨w, w⟩ − ⟨w, q⟩² / ⟨q, q⟩. So of the q that a
number of scales round to, the one with the largest ⟨w, q⟩² / ⟨q, q⟩ is taken. With more than a few bits that is close to
the scale that just reaches the largest weight; with few, clipping the largest weights costs less than rounding all others
coarsely.

One bit is the sign, and then s = mean |w|, which is the scale of XNOR-Net (Rastegari et al. 2016, arXiv:1603.05279).
Two bits are {−1, 0, 1}: ternary weights (Li et al. 2016, arXiv:1605.04711).
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Integers = NDArray[np.int8]

# Scales that are tried, as shares of the one that reaches the largest weight: for Gaussian weights the best one is
# about 0.3 of it with two bits, and nearly all of it with eight.
_SHARES = np.geomspace(1, 0.2, 24, dtype=np.float32)


def symmetric_levels(bits: int) -> tuple[int, int]:
    """The smallest and the largest integer of so many bits, 0 in the middle; one bit has −1 and 1 alone."""
    largest = max(2 ** (bits - 1) - 1, 1)
    return -largest, largest


def round_groups(groups: Floats, low: int, high: int, *, signs_only: bool = False) -> tuple[Integers, Floats]:
    """Integers in low … high, [G, n], and a scale for each group, [G].

    Args:
        groups: weights that share a scale, [G, n].
        low: the smallest integer, below 0.
        high: the largest integer. Where the two differ in size, a scale may be negative, to use the longer side.
        signs_only: leave out 0, as one bit does.
    """
    groups = groups.astype(np.float32, copy=False)
    if signs_only:
        signs = np.where(groups < 0, -1, 1).astype(np.int8)
        return signs, _best_scale(groups, signs)
    largest = np.take_along_axis(groups, np.abs(groups).argmax(1, keepdims=True), 1)
    best = np.zeros(groups.shape, np.int8)
    explained = np.zeros(len(groups), np.float32)
    for reached in {low, high} if low != -high else {high}:
        for share in _SHARES:
            tried = _rounded(groups, largest * share / np.float32(reached), low, high)
            found = _explained(groups, tried)
            better = found > explained
            best[better], explained[better] = tried[better], found[better]
    return best, _best_scale(groups, best)


def relative_error(weights: Floats, rounded: Floats) -> float:
    """Squared error over the weights' energy, ‖w − ŵ‖² / ‖w‖²; 0 for weights that are all 0."""
    energy = float(np.square(weights, dtype=np.float64).sum())
    return float(np.square(weights - rounded, dtype=np.float64).sum()) / energy if energy else 0.0


def _rounded(groups: Floats, scale: Floats, low: int, high: int) -> Integers:
    safe = np.where(scale == 0, np.float32(1), scale)  # a group of zeros
    return np.clip(np.rint(groups / safe), low, high).astype(np.int8)


def _explained(groups: Floats, integers: Integers) -> Floats:
    """⟨w, q⟩² / ⟨q, q⟩ of each group, [G]."""
    q = integers.astype(np.float32)
    squares = np.einsum("gi,gi->g", q, q)
    explained: Floats = np.einsum("gi,gi->g", groups, q) ** 2 / np.maximum(squares, 1)
    return explained


def _best_scale(groups: Floats, integers: Integers) -> Floats:
    q = integers.astype(np.float32)
    scale: Floats = np.einsum("gi,gi->g", groups, q) / np.maximum(np.einsum("gi,gi->g", q, q), 1)
    return scale.astype(np.float32)
