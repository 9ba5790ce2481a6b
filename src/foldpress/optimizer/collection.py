"""What static int8 has to learn from calibration samples, and the one pass that collects it."""

from collections.abc import Collection as Container
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from foldpress.data import Dataset, Indices
from foldpress.errors import choose_from
from foldpress.optimizer.activations import BATCH_BYTES
from foldpress.optimizer.chains import Chain, find_chains
from foldpress.optimizer.channels import Channels, channels_of, split_channels
from foldpress.optimizer.gptq import too_wide
from foldpress.optimizer.gram import GramAccumulator
from foldpress.optimizer.histogram import BINS, HistogramAccumulator
from foldpress.optimizer.layers import Layer, weighted_layers
from foldpress.optimizer.learning import Learning
from foldpress.optimizer.means import MeanAccumulator
from foldpress.optimizer.one_pass import accumulate
from foldpress.optimizer.static_int8 import tensors_to_calibrate
from foldpress.optimizer.statistics import RangeAccumulator
from foldpress.weight_passes import WeightPass

Kind = Literal["ranges", "histograms"]

DIGEST_BYTES = 16  # of a sample, see `Dataset.digests`
_CHANNEL_BYTES = 2**29  # of the histograms of single channels
_GRAM_BATCH_BYTES = 4 * BATCH_BYTES  # to add to a Gram matrix of D features costs D², however few samples a batch has


@dataclass(frozen=True, eq=False)
class Collection:
    """Statistics to be collected by fold: of what in which graph, over which samples, and of which kind.

    They depend on graph, samples, kind and passes alone, so that they serve every target and whatever layers stay float.

    Args:
        model: a float graph with shapes inferred.
        dataset: calibration samples.
        numbers: fold number of each sample in each repeat, [repeats, N].
        kind: ranges or histograms.
        passes: what is done to weights before they are quantized.
    """

    model: ir.Model
    dataset: Dataset
    numbers: Indices
    kind: Kind
    passes: Container[WeightPass] = ()

    def collect(self) -> Learning:
        """One pass over the data."""
        found = (HistogramAccumulator if self.kind == "histograms" else RangeAccumulator)(self.tensors, self.numbers)
        grams = GramAccumulator([layer.slot for layer in self.gram_layers], self.numbers)
        means = MeanAccumulator(self.mean_layers, self.numbers)
        graph = split_channels(self.model, self._channels)
        batch_bytes = _GRAM_BATCH_BYTES if grams.tensors else BATCH_BYTES
        accumulate(graph, [found, grams, means], self.dataset, self.numbers, batch_bytes=batch_bytes)
        return Learning(found.statistics(), grams.statistics(), means.statistics())

    @property
    def tensors(self) -> tuple[str, ...]:
        """What gets a range: every tensor that becomes integer, channel by channel where its channels may be scaled."""
        split = {one.tensor for one in self._channels}
        whole = [name for name in tensors_to_calibrate(self.model) if name not in split]
        return (*whole, *(name for one in self._channels for name in one.names))

    @property
    def gram_layers(self) -> list[Layer]:
        """Layers whose Gram matrix gptq needs."""
        layers = weighted_layers(self.model)[0] if "gptq" in self.passes else []
        return [layer for layer in layers if too_wide(layer) is None]

    @property
    def mean_layers(self) -> list[Layer]:
        """Layers whose mean inputs bias correction needs."""
        return weighted_layers(self.model)[0] if "bias-correction" in self.passes else []

    def sample_digests(self) -> NDArray[np.uint8]:
        """The digest of every sample's inputs, [N, 16]."""
        return np.frombuffer(b"".join(self.dataset.digests()), np.uint8).reshape(-1, DIGEST_BYTES)

    @property
    def _channels(self) -> list[Channels]:
        """Tensors whose channels are observed one by one, as long as their histograms have room."""
        room = _CHANNEL_BYTES // (8 * BINS * len(self.numbers) * (int(self.numbers.max()) + 1))
        chains = [chain for chain in find_chains(self.model)[0] if why_not_scaled(chain, self.passes) is None]
        return [one for chain in _fitting(chains, room) for one in channels_of(chain)]


def why_not_scaled(chain: Chain, passes: Container[WeightPass]) -> str | None:
    """Why none of these passes scales the channels of a chain, or None where one does."""
    if chain.normalized:
        return None if "smooth" in passes else "smooth is off"
    if "equalization" not in passes:
        return "equalization is off"
    return None if chain.touches_depthwise else "neither layer is depthwise: measured, nothing is gained"


def choose_kind(name: str) -> Kind:
    """The kind of that name.

    Raises:
        RequestError: there is no such kind.
    """
    kinds: tuple[Kind, ...] = get_args(Kind)
    return choose_from(kinds, name, "there are no statistics")


def _fitting(chains: Sequence[Chain], channels: int) -> list[Chain]:
    """Chains in graph order as long as they have room: the observed channels of all of them are at most `channels`."""
    fitting = []
    for chain in chains:
        channels -= chain.channels * len(chain.tensors)
        if channels < 0:
            break
        fitting.append(chain)
    return fitting
