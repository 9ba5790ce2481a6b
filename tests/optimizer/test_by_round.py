"""Networks by round: made once, however many stages ask for them."""

from typing import Any

import numpy as np
import pytest

from foldpress.data import Dataset
from foldpress.optimizer.by_round import ByRound
from foldpress.optimizer.factorize.request import Factorization
from foldpress.optimizer.passes import PassResult
from foldpress.optimizer.press import Press
from foldpress.optimizer.prune import Prune
from foldpress.optimizer.pruning import Pruning
from foldpress.optimizer.share import Share
from foldpress.optimizer.targets import TARGETS
from topologies import graph

NUMBERS = (np.arange(60) % 3)[None]
NETWORK = graph("a = MatMul(x, w) ra = Relu(a) b = MatMul(ra, v) rb = Relu(b) y = MatMul(rb, u)",
                {"w": (24, 40), "v": (40, 32), "u": (32, 20)}, "float[N, 24]", "float[N, 20]")  # fmt: skip


class Counted(ByRound):
    """Writes down what it makes."""

    def __init__(self, *, own_network: bool) -> None:
        super().__init__()
        self._own, self.made = own_network, list[tuple[int | None, int]]()

    @property
    def own_network(self) -> bool:
        return self._own

    def _make(self, fold: int | None, repeat: int) -> PassResult:
        self.made.append((fold, repeat))
        return PassResult(NETWORK)


@pytest.mark.parametrize("stages", ["prune", "prune share", "prune factorize", "prune factorize share"])
def test_a_round_is_pruned_once(stages: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches: a stage that has the ones before it do their work again."""
    pruned: list[tuple[int | None, int]] = []
    plain = Pruning._make

    def counted(self: Pruning, fold: int | None, repeat: int) -> PassResult:
        pruned.append((fold, repeat))
        return plain(self, fold, repeat)

    monkeypatch.setattr(Pruning, "_make", counted)
    x = np.random.default_rng(0).normal(size=(60, 24)).astype(np.float32)
    asked: dict[str, Any] = {
        "prune": Prune("structured", macs=0.8),
        "factorize": Factorization(macs=0.8),
        "share": Share(bits=4),
    }
    press = Press(
        NETWORK, Dataset({"x": x}), NUMBERS, target=TARGETS["x86"], **{one: asked[one] for one in stages.split()}
    )
    press.ship()
    for fold in range(3):
        press.without(fold)
    assert pruned == [(None, 0), (0, 0), (1, 0), (2, 0)]


def test_two_rounds_are_kept_and_no_more() -> None:
    """Catches: halves that are made anew at every step of a search; memory that grows with the folds."""
    stage = Counted(own_network=True)
    for fold in (0, 1, 0, 1, 2, 2, None, None):
        stage.without(fold, 0)
    assert stage.made == [(0, 0), (1, 0), (2, 0), (None, 0)]
    stage.without(0, 0)
    stage.without(2, 1)  # another repeat has other folds
    assert stage.made[4:] == [(0, 0), (2, 1)]


def test_rounds_that_share_a_network_make_it_once() -> None:
    """Catches: the same network made for every fold."""
    stage = Counted(own_network=False)
    for fold in (0, 1, None):
        stage.without(fold, 0)
    assert stage.made == [(None, 0)]
