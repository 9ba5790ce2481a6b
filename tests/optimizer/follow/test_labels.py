"""Labels against the obvious: sets that are merged one pair at a time."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from foldpress.optimizer.follow.labels import FIXED, Labels

PAIRS = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=15)


@given(pairs=PAIRS, frozen=st.lists(st.integers(0, 12), max_size=3))
def test_classes_are_what_merging_gives(pairs: list[tuple[int, int]], frozen: list[int]) -> None:
    """Catches: pairs lost, classes merged by the fixed label, a class that forgets that it has to stay."""
    labels = Labels()
    assert labels.fresh(12).tolist() == list(range(1, 13))
    sets = [{label} for label in range(13)]
    stays = {label for label in frozen if label != FIXED}
    for first, second in pairs:
        labels.unite(np.array([first]), np.array([second]), "united")
        if FIXED in (first, second):
            stays |= {first, second} - {FIXED}
        elif sets[first] is not sets[second]:
            sets[first] |= sets[second]
            for label in sets[second]:
                sets[label] = sets[first]
    labels.freeze([np.array(frozen, np.intp)], "frozen")
    found = labels.classes()
    for label in range(1, 13):
        assert {other for other in range(13) if found.of[other] == found.of[label]} == sets[label]
        assert (int(found.of[label]) in found.frozen) == bool(sets[label] & stays)


def test_the_first_reason_is_kept() -> None:
    """Catches: a log that names the last of many operators."""
    labels = Labels()
    one, two = labels.fresh(2), labels.fresh(2)
    labels.unite(one, two, "never said")
    labels.freeze([two[:1]], "first")
    labels.freeze([one], "second")
    found = labels.classes()
    assert [found.frozen[int(found.of[label])] for label in one] == ["first", "second"]


def test_positions_go_one_by_one_or_not_at_all() -> None:
    """Catches: an axis that is one class taken for channels."""
    labels = Labels()
    free, whole, half = labels.fresh(3), labels.fresh(3), labels.fresh(2)
    labels.unite(whole[:1], whole, "united")
    labels.freeze([half[:1]], "frozen")
    found = labels.classes()
    assert [found.movable(axis) for axis in (free, whole, half)] == [True, False, False]
