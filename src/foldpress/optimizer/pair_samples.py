"""What a pair of layers is given for some samples, what comes of it, and how that changes with their weights."""

from dataclasses import dataclass, replace

import numpy as np

from foldpress.optimizer.frontier import Frontier
from foldpress.optimizer.groups import Slot
from foldpress.optimizer.pairs import Pair, Weights
from foldpress.optimizer.patches import Rows, columns, spread
from foldpress.optimizer.places import aim
from foldpress.optimizer.side_by_side import original_name


@dataclass(frozen=True, eq=False)
class Given:
    """What a pair is given for some samples, and what is to come of it.

    Args:
        pair: the layers.
        inputs: x of the first layer at all places, with ones for the bias: [n, D].
        rest: u, what the second layer adds to at all places: [m, M].
        wanted: v*, [m, M].
        places: shape of what is between the layers, without channels; for a convolution [samples, sizes…].
    """

    pair: Pair
    inputs: Rows
    rest: Rows
    wanted: Rows
    places: tuple[int, ...]

    def run(self, weights: Weights) -> tuple[Rows, Rows, Rows]:
        """What the first layer gives, [n, C], what the second one sums over, [m, D], and what v lacks, [m, M]."""
        first, second = (matrix.astype(np.float32) for matrix in weights)
        inner = self.inputs @ first
        seen = columns(self._slot, self._between(np.maximum(inner, 0)))
        if len(second) > seen.shape[1]:
            seen = np.concatenate([seen, np.ones((len(seen), 1), np.float32)], axis=1)
        value = self.rest + seen @ second
        return inner, seen, aim(value, self.wanted, rectified=self.pair.second.rectified) - value

    def loss(self, weights: Weights) -> float:
        """The mean over places of what v lacks, squared and summed over outputs."""
        return _loss(self.run(weights)[2])

    def slope(self, weights: Weights) -> tuple[float, Weights]:
        """The loss, and its gradient with respect to both weights."""
        inner, seen, lack = self.run(weights)
        back = lack @ weights[1][: len(self.pair.second.kept)].astype(np.float32).T
        passed = by_place(spread(self._slot, back, self._between(inner).shape), self._axis)
        passed[inner <= 0] = 0
        first, second = (
            -2 / len(lack) * (x.T @ y).astype(np.float64) for x, y in ((self.inputs, passed), (seen, lack))
        )
        return _loss(lack), (first, second)

    @property
    def _slot(self) -> Slot:
        return self.pair.second.layer.slot

    @property
    def _axis(self) -> int:
        return self.pair.second.layer.channel_axis

    def _between(self, inner: Rows) -> Rows:
        """[n, C] as the second layer is given it."""
        return np.moveaxis(inner.reshape(*self.places, -1), -1, self._axis)


def given_to(pair: Pair, networks: Frontier) -> Given:
    """Run both networks, of which the pair is in the changed one; see `joint.fit_together`."""
    pruned, count = networks.changed, len(networks.samples)
    sums = str(pair.second.value.name)
    names = str(pair.first.input.name), str(pair.second.layer.input.name), sums, original_name(sums)
    parts: dict[int, list[Rows]] = {number: [] for number in range(len(names))}
    axis = pair.second.layer.channel_axis
    for tensor, _, values in networks.observe(names):
        if tensor == 1:
            places = np.moveaxis(values, axis, -1).shape[1:-1]
        else:
            parts[tensor].append(by_place(values, axis) if tensor else pair.inputs(pruned, values))
    inputs, value, wanted = (np.concatenate(part) for part in (parts[0], parts[2], parts[3]))
    between = (count, *places) if pair.first.node.op_type == "Conv" else (len(inputs),)
    given, weights = Given(pair, inputs, value, wanted, between), pair.weights(pruned)
    return replace(given, rest=value - given.run(weights)[1] @ weights[1].astype(np.float32))


def by_place(values: Rows, axis: int) -> Rows:
    """A tensor with channels along an axis as [places, channels]."""
    return np.moveaxis(values, axis, -1).reshape(-1, values.shape[axis])


def _loss(lack: Rows) -> float:
    return float(np.square(lack).sum(dtype=np.float64)) / len(lack)
