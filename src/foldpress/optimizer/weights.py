"""Passes over float weights before static int8, given what a round has learned.

In this order: channels are scaled (equalization behind layers, smoothing behind normalizations), weights are rounded on the
quantizer's own grid (gptq), and what rounding does to the means is taken back (bias-correction).
"""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from foldpress.optimizer.bias_correction import BiasCorrection
from foldpress.optimizer.chains import ARROW, Chain, Scales, find_chains
from foldpress.optimizer.channels import channels_of, joined, peaks, tensors_of
from foldpress.optimizer.collection import why_not_scaled
from foldpress.optimizer.equalization import Rescale, equalizing_scales
from foldpress.optimizer.gptq import Gptq
from foldpress.optimizer.histogram import Histograms
from foldpress.optimizer.layers import Layer
from foldpress.optimizer.learning import Grams, Learned
from foldpress.optimizer.means import Means
from foldpress.optimizer.passes import LogEntry, Pass, apply
from foldpress.optimizer.scalable import starts_normalized
from foldpress.optimizer.smooth import smoothing_scales
from foldpress.optimizer.statistics import Ranges
from foldpress.optimizer.targets import Target
from foldpress.optimizer.weight_grid import levels_of
from foldpress.weight_passes import AUTO, AUTO_DEPTHWISE, WeightPass

_NO_ROOM = "the histograms of so many single channels would not fit in memory"

ByConsumer = dict[str, tuple[Chain, Layer, Scales]]


@dataclass(frozen=True, eq=False)
class Prepared:
    """A float graph whose weights are ready for the quantizer, the statistics of its tensors, and the log."""

    model: ir.Model
    found: Ranges | Histograms
    log: tuple[LogEntry, ...]


def automatic_passes(model: ir.Model) -> tuple[WeightPass, ...]:
    """What "auto" stands for in a network."""
    return AUTO_DEPTHWISE if any(chain.touches_depthwise for chain in find_chains(model)[0]) else AUTO


@dataclass(frozen=True)
class WeightPasses:
    """Which passes to run, for which target; `skipped` are layers that stay float."""

    names: tuple[WeightPass, ...]
    target: Target
    skipped: Collection[str] = ()

    def prepare(self, model: ir.Model, learned: Learned) -> Prepared:
        """Apply the passes to a float graph, given what one round has learned."""
        chains, kept = self._chosen(model)
        observed = set(tensors_of(learned.found))
        kept |= {chain.name: _NO_ROOM for chain in chains if channels_of(chain)[-1].names[0] not in observed}
        chains = [chain for chain in chains if chain.name not in kept]
        scales = {chain: _scales(model, chain, learned.found) for chain in chains}
        by_name = {chain.name: found for chain, found in scales.items()}
        scaled = apply(self._rescaling(model, by_name, kept), model)
        by_consumer = {
            layer.name: (chain, layer, found) for chain, found in scales.items() for layer in chain.consumers
        }
        rounded = apply(self._rounding(scaled.model, learned, by_consumer), scaled.model)
        parts = {
            one: by_name.get(chain.name, np.ones(chain.channels))
            for chain in find_chains(model)[0]
            for one in channels_of(chain)
            if one.names[0] in observed
        }
        return Prepared(rounded.model, joined(learned.found, parts), scaled.log + rounded.log)

    def _rescaling(self, model: ir.Model, scales: dict[str, Scales], kept: dict[str, str]) -> list[Pass]:
        """One pass for the chains behind layers, and one for those behind normalizations."""
        normalizations = {str(node.name) for node in model.graph if starts_normalized(node)}

        def kind(subject: str) -> WeightPass:
            return "smooth" if subject.split(ARROW)[0] in normalizations else "equalization"

        return [
            Rescale(
                {chain: one for chain, one in scales.items() if kind(chain) == name},
                {subject: reason for subject, reason in kept.items() if kind(subject) == name},
                name,
            )
            for name in ("equalization", "smooth")
            if name in self.names
        ]

    def _rounding(self, scaled: ir.Model, learned: Learned, chains: ByConsumer) -> list[Pass]:
        levels = levels_of(self.target)
        passes: list[Pass] = []
        if "gptq" in self.names:
            passes.append(Gptq(_rescaled_grams(learned.grams, chains), levels, self.skipped))
        if "bias-correction" in self.names:
            passes.append(BiasCorrection(_rescaled_means(learned.means, chains), scaled, levels, self.skipped))
        return passes

    def _chosen(self, model: ir.Model) -> tuple[list[Chain], dict[str, str]]:
        """Chains to scale, and for all other layers the reason why they are left."""
        found, kept = find_chains(model)
        chosen, reasons = [], dict(kept)
        for chain in found:
            reason = self._reason(chain)
            if reason is None:
                chosen.append(chain)
            else:
                reasons[chain.name] = reason
        return chosen, reasons

    def _reason(self, chain: Chain) -> str | None:
        if any(layer.name in self.skipped for layer in chain.consumers):
            return "its next layer stays float"
        return why_not_scaled(chain, self.names)


def _scales(model: ir.Model, chain: Chain, found: Ranges | Histograms) -> Scales:
    """What to divide the channels of a chain by, from those that its consumers read."""
    read = {layer.input.name for layer in chain.consumers}
    peak = np.max([peaks(found, one) for one in channels_of(chain) if one.tensor in read], axis=0)
    if chain.normalized:
        return smoothing_scales(chain, peak, [layer.matrices(model) for layer in chain.consumers])
    return equalizing_scales(chain, peak)


def _rescaled_grams(grams: Grams, chains: ByConsumer) -> Grams:
    """G of every layer once its inputs are divided by their scales."""
    result = dict(grams)
    for name, (chain, layer, scales) in chains.items():
        if name in grams:
            gram = grams[name]
            factors = 1 / scales[chain.columns(layer, gram.shape[-1] - 1)]
            factors = np.concatenate([factors, np.ones((len(factors), 1))], axis=1)
            result[name] = gram * (factors[:, :, None] * factors[:, None, :]).reshape(gram.shape)
    return result


def _rescaled_means(means: Means, chains: ByConsumer) -> Means:
    return means | {name: means[name] / scales for name, (_, _, scales) in chains.items() if name in means}
