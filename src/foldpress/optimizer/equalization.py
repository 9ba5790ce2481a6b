"""Cross-layer equalization: scale the channels between two layers so that a range for the whole tensor suits each of them.

Nagel et al. 2019 (arXiv:1906.04721, section 4.1) equalize weights, which per-channel scales have made needless. Here it is the
activations: with a step Δ for the whole tensor, the rounding of channel c reaches the next layer's output as Δ s_c W_c, and
Δ = max_c (peak_c / s_c) / 255. Under a depthwise layer, whose weights have a scale for each channel, s_c = peak_c costs
nothing. Any other layer has all channels under one scale for each output, so there s_c = √peak_c: half of the way.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from foldpress.optimizer.chains import Chain, Scales, find_chains, rescale
from foldpress.optimizer.passes import LogEntry, PassResult

_HALFWAY = 0.5  # measured against 0, 0.75 and 1: docs/measurements.md
_LARGEST = 2.0**10  # of a scale, and of its inverse: beyond it a channel is as good as silent, and weights lose digits


@dataclass(frozen=True, eq=False)
class Rescale:
    """Scale chains' channels by name of the chain, [C] each; `kept` says why other chains are left."""

    scales: Mapping[str, Scales]
    kept: Mapping[str, str]
    name: str = "equalization"

    def __call__(self, model: ir.Model) -> PassResult:
        """Scale; the log says by what factor the scales of a chain differ."""
        log = [LogEntry(self.name, name, "declined", reason) for name, reason in self.kept.items()]
        for chain in find_chains(model)[0]:
            if chain.name in self.scales:
                scales = self.scales[chain.name]
                rescale(model, chain, scales)
                detail = f"channels scaled by {scales.min():.2g} … {scales.max():.2g}"
                silent = int((scales == 1).sum())
                detail += f"; {silent} left as they are" if silent else ""
                log.append(LogEntry(self.name, chain.name, "done", detail))
        return PassResult(model, tuple(log))


def equalizing_scales(chain: Chain, peak: NDArray[np.float64]) -> Scales:
    """What to divide each channel by, [C], given the largest magnitude of each, [C]; 1 for a channel that is always zero."""
    return bounded(peak ** (1 if chain.into_depthwise else _HALFWAY), peak > 0)


def bounded(scales: Scales, usable: NDArray[np.bool_]) -> Scales:
    """Scales with a geometric mean of 1 over the usable channels, within bounds; 1 for all others."""
    if not usable.any():
        return np.ones_like(scales)
    logarithm = np.log2(scales, where=usable, out=np.zeros_like(scales))
    centered: Scales = np.exp2(logarithm - logarithm[usable].mean())
    return np.where(usable, centered.clip(1 / _LARGEST, _LARGEST), 1.0)
