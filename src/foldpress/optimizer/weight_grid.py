"""The grid of integers that the quantizer will put weights on: symmetric, with a scale for each output.

Scale = largest magnitude / levels, as onnxruntime's quantizer computes it. A weight that is an integer times the scale, and a
largest magnitude that is left as it is, come out of the quantizer as they went in.
"""

import numpy as np
from numpy.typing import NDArray

from foldpress.optimizer.layers import Matrices
from foldpress.optimizer.targets import Target


def levels_of(target: Target) -> int:
    """The largest integer of a weight: 127, or 64 where the range is reduced."""
    return 64 if target.reduce_range else 127


def grid_scales(matrices: Matrices, levels: int) -> NDArray[np.float32]:
    """The scale of every output, [G, M, 1]; 1 where all weights of an output are zero."""
    scales = (np.abs(matrices).max(-1, keepdims=True) / levels).astype(np.float32)
    return np.where(scales < np.finfo(np.float32).tiny, np.float32(1), scales)


def rounded(matrices: Matrices, levels: int) -> Matrices:
    """Weights as the quantizer rounds them to nearest, [G, M, D]."""
    scales = grid_scales(matrices, levels)
    return (np.round(matrices.astype(np.float32) / scales).clip(-levels, levels) * scales).astype(np.float64)
