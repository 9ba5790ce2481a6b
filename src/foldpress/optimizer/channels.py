"""Statistics of single channels, from which those of a rescaled network follow without running it.

A network whose channel c is divided by s_c has, in that channel, the extremes and the histogram of the original divided by
s_c. A tensor's statistics are those of its channels, merged. So scales may differ from fold to fold, and one pass over the
data still serves all. Extremes are exact; of histograms, each bin moves as one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from foldpress.data import Indices
from foldpress.graph import copy_graph
from foldpress.optimizer.activations import values_by_name
from foldpress.optimizer.chains import Chain, Scales
from foldpress.optimizer.histogram import BINS, Histograms
from foldpress.optimizer.statistics import Ranges

_COUNTED_AS_INPUT_SINCE = 18  # the opset in which Split must be told how many parts it makes


@dataclass(frozen=True)
class Channels:
    """A tensor of a chain, and the names under which its channels are observed."""

    tensor: str
    axis: int
    names: tuple[str, ...]


def channels_of(chain: Chain) -> list[Channels]:
    """The tensors of a chain, channel by channel."""
    return [
        Channels(tensor, axis, tuple(f"{tensor}/channel{number}" for number in range(chain.channels)))
        for tensor, axis in chain.tensors
    ]


def split_channels(model: ir.Model, tensors: Sequence[Channels]) -> ir.Model:
    """A copy of the graph that also computes every channel as a tensor of its own."""
    model = copy_graph(model)
    values = values_by_name(model)
    for one in tensors:
        whole = values[one.tensor]
        attributes = {"axis": one.axis}
        if model.opset_imports[""] >= _COUNTED_AS_INPUT_SINCE:
            attributes["num_outputs"] = len(one.names)
        node = ir.node("Split", [whole], attributes, num_outputs=len(one.names))
        model.graph.append(node)
        for value, name in zip(node.outputs, one.names, strict=True):
            sizes = list(whole.shape or ())
            sizes[one.axis] = 1
            value.name, value.type, value.shape = name, whole.type, ir.Shape(sizes)
    return model


def joined(found: Ranges | Histograms, scales: Mapping[Channels, Scales]) -> Ranges | Histograms:
    """The statistics of whole tensors, once their channels are divided by `scales`, [C]; other tensors stay as they are."""
    ranges = found.ranges if isinstance(found, Histograms) else found
    where = {name: number for number, name in enumerate(ranges.tensors)}
    channels = {one: np.array([where[name] for name in one.names]) for one in scales}
    parts = {name for one in scales for name in one.names}
    kept = [number for number, name in enumerate(ranges.tensors) if name not in parts]
    low = [(ranges.minimum[rows] / scales[one]).min() for one, rows in channels.items()]
    high = [(ranges.maximum[rows] / scales[one]).max() for one, rows in channels.items()]
    merged = Ranges(
        (*(ranges.tensors[number] for number in kept), *(one.tensor for one in channels)),
        np.concatenate([ranges.minimum[kept], np.array(low, np.float32)]),
        np.concatenate([ranges.maximum[kept], np.array(high, np.float32)]),
    )
    if not isinstance(found, Histograms):
        return merged
    counts = np.concatenate([found.counts[kept], np.zeros((len(channels), BINS), np.int64)])
    result = Histograms(merged, counts)
    for number, (one, rows) in enumerate(channels.items(), len(kept)):
        counts[number] = _counts(found, rows, scales[one], result.edges(number))
    return result


def _counts(found: Histograms, channels: Indices, scales: Scales, edges: NDArray[np.float64]) -> NDArray[np.int64]:
    """The counts of all channels in the bins between `edges`, each bin of a channel taken at its middle, [BINS]."""
    total = np.zeros(BINS, np.int64)
    for channel, scale in zip(channels, scales, strict=True):
        own = found.edges(int(channel))
        middles = (own[:-1] + own[1:]) / 2 / scale
        bins = np.searchsorted(edges, middles, "right") - 1
        np.add.at(total, bins.clip(0, BINS - 1), found.counts[channel])
    return total


def peaks(found: Ranges | Histograms, one: Channels) -> NDArray[np.float64]:
    """The largest magnitude of every channel, [C]."""
    ranges = found.ranges if isinstance(found, Histograms) else found
    where = {name: number for number, name in enumerate(ranges.tensors)}
    rows = [where[name] for name in one.names]
    largest: NDArray[np.float64] = np.maximum(-ranges.minimum[rows], ranges.maximum[rows]).astype(np.float64)
    return largest


def tensors_of(found: Ranges | Histograms) -> tuple[str, ...]:
    """The names of what was observed."""
    return found.ranges.tensors if isinstance(found, Histograms) else found.tensors
