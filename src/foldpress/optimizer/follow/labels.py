"""Labels of positions: positions that must stay or go together carry labels of one class (union-find)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from foldpress.data import Indices

FIXED = 0  # the label of every position that has to stay


class Entangled(Exception):  # noqa: N818
    """Labels cannot be followed any further; the message says where and why."""


@dataclass(frozen=True, eq=False)
class Classes:
    """The class of each label, and for those that have to stay the first reason that was found."""

    of: Indices
    frozen: dict[int, str]

    def movable(self, labels: Indices) -> bool:
        """Whether the positions with these labels could go, and one by one."""
        found = np.unique(self.of[labels])
        return len(found) > 1 and not any(int(one) in self.frozen for one in found)


class Labels:
    """Hands out labels, and notes which of them belong together and which must stay."""

    def __init__(self) -> None:
        self._count = 1
        self._pairs: list[Indices] = []
        self._frozen: list[tuple[Indices, str]] = []

    def fresh(self, count: int) -> Indices:
        """New labels for `count` positions."""
        self._count += count
        return np.arange(self._count - count, self._count)

    def unite(self, first: Indices, second: Indices, why: str) -> None:
        """Positions with these labels go together; beside one that is fixed, a position stays for the reason `why`."""
        pairs = np.stack([part.ravel() for part in np.broadcast_arrays(first, second)])
        free = (pairs != FIXED).all(0)
        self._pairs.append(pairs[:, free])
        self.freeze([pairs[:, ~free]], why)

    def freeze(self, axes: Sequence[Indices], why: str) -> None:
        """Positions with these labels stay."""
        for labels in axes:
            if labels.any():
                found = np.unique(labels)
                self._frozen.append((found[found != FIXED], why))

    def classes(self) -> Classes:
        """What all that was noted comes to."""
        first, second = np.concatenate([np.empty((2, 0), np.intp), *self._pairs], axis=1)
        graph = coo_array((np.ones(len(first), bool), (first, second)), shape=(self._count, self._count))
        of = connected_components(graph, directed=False)[1].astype(np.intp)
        frozen = {int(of[FIXED]): "they are none of a layer's channels"}
        for labels, why in self._frozen:
            for one in np.unique(of[labels]):
                frozen.setdefault(int(one), why)
        return Classes(of, frozen)
