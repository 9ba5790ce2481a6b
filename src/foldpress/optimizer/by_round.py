"""A stage of compression that gives every round of the k-fold check its network."""

from abc import ABC, abstractmethod
from functools import cached_property

from foldpress.optimizer.passes import PassResult

_KEPT = 2  # rounds come one after the other, but the search for a largest drop goes back and forth between two halves


class ByRound(ABC):
    """Networks by round. A stage takes those of the stage before, so each is asked for more than once and made only once.

    The network that learned from all folds is kept. Of the others only the newest are: ten copies of a large network would not
    fit into memory.
    """

    def __init__(self) -> None:
        self._newest: dict[tuple[int, int], PassResult] = {}

    @property
    @abstractmethod
    def own_network(self) -> bool:
        """Whether every round has a network of its own."""

    @abstractmethod
    def _make(self, fold: int | None, repeat: int) -> PassResult: ...

    def without(self, fold: int | None, repeat: int) -> PassResult:
        """The network of the round that leaves out `fold`, or nothing where that is None, and the log of this stage alone."""
        if fold is None or not self.own_network:
            return self._shipped
        if (fold, repeat) not in self._newest:
            while len(self._newest) >= _KEPT:
                del self._newest[next(iter(self._newest))]
            self._newest[fold, repeat] = self._make(fold, repeat)
        return self._newest[fold, repeat]

    @cached_property
    def _shipped(self) -> PassResult:
        return self._make(None, 0)
