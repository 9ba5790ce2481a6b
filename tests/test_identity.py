"""What a sample counts as."""

import numpy as np

from foldpress.data import Dataset
from foldpress.identity import identify

X = np.array([[1.0], [2.0], [1.0], [3.0], [2.0]])


def test_copies_are_told_by_content() -> None:
    """Catches copies that count as samples, and targets that make a copy look like another sample."""
    found = identify(Dataset({"x": X}, np.arange(5), np.array(["a", "b", "a", "a", "b"])), grouped=False)
    assert found.sample.tolist() == [0, 1, 0, 3, 1]
    assert found.group.tolist() == [0, 1, 0, 3, 1]


def test_groups_are_the_datas_own() -> None:
    """Catches groups numbered anew in each part, and rows counted from a part instead of the source."""
    data = Dataset({"x": X}, None, np.array(["a", "b", "a", "c", "b"])).select(np.array([1, 3, 4]))
    found = identify(data, grouped=True)
    assert found.sample.tolist() == [1, 3, 1]
    assert found.group[0] == found.group[2] != found.group[1]
    assert found.at(np.array([1])).sample.tolist() == [3]
    assert identify(Dataset({"x": X}), grouped=True).group.tolist() == [0, 1, 0, 3, 1]
