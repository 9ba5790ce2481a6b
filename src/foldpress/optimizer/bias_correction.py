"""Take back the mean error that rounding a layer's weights causes.

With ε = W̃ − W, the output's mean moves by E[ỹ] − E[y] = ε E[x], which is subtracted from the bias (Nagel et al. 2019,
"Data-Free Quantization through Weight Equalization and Bias Correction", arXiv:1906.04721, equation 17). E[x] are the inputs'
channel means, measured; the borders of a padded convolution count as the rest of the channel does.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from foldpress.optimizer.layers import Layer, weighted_layers
from foldpress.optimizer.passes import LogEntry, PassResult
from foldpress.optimizer.weight_grid import rounded


@dataclass(frozen=True, eq=False)
class BiasCorrection:
    """Correct the bias of every layer for the rounding of its weight.

    `means` holds E[x] of each layer by name, [C]; `reference` is the float graph before any weight was rounded; `skipped` are
    layers that stay float.
    """

    means: Mapping[str, NDArray[np.float64]]
    reference: ir.Model
    levels: int
    skipped: Collection[str] = ()
    name: str = "bias-correction"

    def __call__(self, model: ir.Model) -> PassResult:
        """Correct; the log says by how much, and which layers have no bias."""
        layers, declined = weighted_layers(model)
        log = [LogEntry(self.name, name, "declined", reason) for name, reason in declined]
        log += [self._correct(model, layer) for layer in layers if layer.name not in self.skipped]
        return PassResult(model, tuple(log))

    def _correct(self, model: ir.Model, layer: Layer) -> LogEntry:
        if layer.name not in self.means:
            return LogEntry(self.name, layer.name, "declined", "its inputs were not observed")
        error = rounded(layer.matrices(model), self.levels) - layer.matrices(self.reference)
        taps = error.shape[-1] * layer.groups // len(self.means[layer.name])
        mean = np.repeat(self.means[layer.name], taps).reshape(layer.groups, -1)
        shift = np.einsum("gmd,gd->gm", error, mean).ravel()
        if not layer.add_to_bias(model, -shift):
            return LogEntry(self.name, layer.name, "declined", "no stored bias is added to its outputs")
        return LogEntry(
            self.name, layer.name, "done", f"mean error of rounding up to {np.abs(shift).max():.1e} taken back"
        )
