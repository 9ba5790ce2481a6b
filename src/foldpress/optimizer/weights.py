"""Passes over float weights before static int8, and what they learn from: collected once, merged for every round.

In this order: channels are scaled (equalization behind layers, smoothing behind normalizations), weights are rounded on the
quantizer's own grid (gptq), and what rounding does to the means is taken back (bias-correction).
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from foldpress.data import Dataset, Indices
from foldpress.optimizer.bias_correction import BiasCorrection
from foldpress.optimizer.chains import ARROW, Chain, Scales, find_chains
from foldpress.optimizer.channels import channels_of, joined, peaks, split_channels, tensors_of
from foldpress.optimizer.equalization import Rescale, equalizing_scales
from foldpress.optimizer.gptq import Gptq, too_wide
from foldpress.optimizer.gram import GramStatistics, collect_grams
from foldpress.optimizer.histogram import BINS, Histograms, HistogramStatistics
from foldpress.optimizer.layers import Layer, weighted_layers
from foldpress.optimizer.means import Means, MeanStatistics, collect_means
from foldpress.optimizer.passes import LogEntry, Pass, apply
from foldpress.optimizer.scalable import starts_normalized
from foldpress.optimizer.smooth import smoothing_scales
from foldpress.optimizer.statistics import Ranges, RangeStatistics
from foldpress.optimizer.targets import Target
from foldpress.optimizer.weight_grid import levels_of
from foldpress.weight_passes import AUTO, AUTO_DEPTHWISE, WeightPass

_CHANNEL_BYTES = 2**29  # of the histograms of single channels
_NO_ROOM = "the histograms of so many single channels would not fit in memory"

Grams = dict[str, NDArray[np.float64]]
ByConsumer = dict[str, tuple[Chain, Layer, Scales]]
Collect = Callable[[ir.Model, Sequence[str], Dataset, Indices], RangeStatistics | HistogramStatistics]


@dataclass(frozen=True, eq=False)
class Learned:
    """What one round has learned: statistics of tensors and of single channels, G and E[x] of every layer."""

    found: Ranges | Histograms
    grams: Grams
    means: Means


@dataclass(frozen=True, eq=False)
class Learning:
    """What all rounds learn from, by fold."""

    found: RangeStatistics | HistogramStatistics
    grams: GramStatistics | None
    means: MeanStatistics | None

    def without(self, fold: int, repeat: int = 0) -> Learned:
        """What every fold but one says."""
        grams = self.grams.without(fold, repeat) if self.grams is not None else {}
        means = self.means.without(fold, repeat) if self.means is not None else {}
        return Learned(self.found.without(fold, repeat), grams, means)

    def all(self) -> Learned:
        """What all folds say."""
        grams = self.grams.all() if self.grams is not None else {}
        return Learned(self.found.all(), grams, self.means.all() if self.means is not None else {})


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

    def learn(
        self, model: ir.Model, tensors: Sequence[str], collect: Collect, dataset: Dataset, numbers: Indices
    ) -> Learning:
        """Collect everything that the passes need, by fold.

        Args:
            model: a float graph with shapes inferred.
            tensors: names of the tensors that are to have a range.
            collect: collects ranges or histograms.
            dataset: calibration samples.
            numbers: fold number of each sample in each repeat, [repeats, N].
        """
        layers = [layer for layer in weighted_layers(model)[0] if layer.name not in self.skipped]
        narrow = [layer.slot for layer in layers if too_wide(layer) is None]
        room = _CHANNEL_BYTES // (8 * BINS * len(numbers) * (int(numbers.max()) + 1))
        split = [one for chain in _fitting(self._chosen(model)[0], room) for one in channels_of(chain)]
        whole = [name for name in tensors if name not in {one.tensor for one in split}]
        names = [*whole, *(name for one in split for name in one.names)]
        found = collect(split_channels(model, split), names, dataset, numbers)
        grams = collect_grams(model, narrow, dataset, numbers) if "gptq" in self.names and narrow else None
        means = collect_means(model, layers, dataset, numbers) if "bias-correction" in self.names and layers else None
        return Learning(found, grams, means)

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
        if chain.normalized:
            return None if "smooth" in self.names else "smooth is off"
        if "equalization" not in self.names:
            return "equalization is off"
        return None if chain.touches_depthwise else "neither layer is depthwise: measured, nothing is gained"


def _scales(model: ir.Model, chain: Chain, found: Ranges | Histograms) -> Scales:
    """What to divide the channels of a chain by, from those that its consumers read."""
    read = {layer.input.name for layer in chain.consumers}
    peak = np.max([peaks(found, one) for one in channels_of(chain) if one.tensor in read], axis=0)
    if chain.normalized:
        return smoothing_scales(chain, peak, [layer.matrices(model) for layer in chain.consumers])
    return equalizing_scales(chain, peak)


def _fitting(chains: list[Chain], channels: int) -> list[Chain]:
    """Chains in graph order as long as they have room: the observed channels of all of them are at most `channels`."""
    fitting = []
    for chain in chains:
        channels -= chain.channels * len(chain.tensors)
        if channels < 0:
            break
        fitting.append(chain)
    return fitting


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
