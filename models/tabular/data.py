"""The survey of Fair (1978) that statsmodels ships, one row for each distinct questionnaire, split once."""

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split
from statsmodels.datasets import fair

Pair = tuple[NDArray[np.float32], NDArray[np.int64]]

HELD_OUT = 0.6  # the larger part: what can be said about the compressed network is limited by it


def load() -> Pair:
    """The held-out part: answers [2898, 8], and 1 where there was an affair, else 0 [2898]."""
    return _split()[1]


def load_train() -> Pair:
    """The training part: answers [1931, 8], and 1 where there was an affair, else 0 [1931]."""
    return _split()[0]


def _split() -> tuple[Pair, Pair]:
    answers, labels = _distinct()
    parts = train_test_split(answers, labels, test_size=HELD_OUT, stratify=labels, random_state=0)
    train_answers, held_out_answers, train_labels, held_out_labels = parts
    return (train_answers, train_labels), (held_out_answers, held_out_labels)


def _distinct() -> Pair:
    table = fair.load_pandas().data
    questions = table.columns.drop("affairs").to_list()
    # The file lists those with an affair first: without a shuffle, they would win every tie.
    table = table.sample(frac=1, random_state=0).drop_duplicates(questions)
    return table[questions].to_numpy(np.float32), (table["affairs"] > 0).to_numpy(np.int64)
