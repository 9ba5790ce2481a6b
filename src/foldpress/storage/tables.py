"""Which streams share a table of frequencies: a table of its own is worth it only where it saves more than it takes.

Clustering by description length: every stream goes to the table that codes it in the fewest bits, or opens one of its own where
that is less even with what the table itself takes, or stays as it is. Then each table becomes that of all its streams, and
the streams choose again.
"""

from collections.abc import Sequence

import numpy as np

from foldpress.storage.entropy import Codes, Counts, bits, frequency_codes

AS_IT_IS = -1  # in place of a table's number

# Of a frequency that is not zero, once the head is compressed: 3 to 4 on the reference models.
_TABLE_BITS = 4
_ROUNDS = 3


def table_bits(codes: Codes) -> int:
    """About what a table itself takes."""
    return _TABLE_BITS * int((codes > 0).sum())


def own_bits(counts: Counts) -> float:
    """What a stream with these counts, [K], takes with a table of its own, that included."""
    codes = frequency_codes(counts)
    return bits(counts, codes) + table_bits(codes)


def share_tables(streams: Sequence[Counts], plain_bits: Sequence[float]) -> tuple[list[Codes], list[int]]:
    """The tables, and for each stream the number of its own.

    Args:
        streams: how often each symbol occurs in each stream, [K]; K may differ.
        plain_bits: what each stream takes as it is; infinite where it cannot stay so.
    """
    order = sorted(range(len(streams)), key=lambda i: -int(streams[i].sum()))
    pooled: list[Counts] = []
    numbers = [AS_IT_IS] * len(streams)
    for i in order:
        numbers[i] = _choose(streams[i], plain_bits[i], pooled, may_open=True)
        _add(pooled, numbers[i], streams[i])
    for _ in range(_ROUNDS):
        numbers = [
            _choose(counts, plain, pooled, may_open=False) for counts, plain in zip(streams, plain_bits, strict=True)
        ]
        pooled = [
            np.sum([counts for counts, own in zip(streams, numbers, strict=True) if own == number], axis=0)
            for number in sorted(set(numbers) - {AS_IT_IS})
        ]
        places = {number: place for place, number in enumerate(sorted(set(numbers) - {AS_IT_IS}))}
        numbers = [places.get(number, AS_IT_IS) for number in numbers]
    return [frequency_codes(counts) for counts in pooled], numbers


def _choose(counts: Counts, plain: float, pooled: list[Counts], *, may_open: bool) -> int:
    """The table, by number, that takes the fewest bits; one behind the last is a new one."""
    costs = {AS_IT_IS: plain}
    for number, others in enumerate(pooled):
        codes = frequency_codes(others)
        if len(others) == len(counts) and not ((others == 0) & (counts > 0)).any():
            costs[number] = bits(counts, codes)
    if may_open:
        costs[len(pooled)] = own_bits(counts)
    return min(costs, key=lambda number: costs[number])


def _add(pooled: list[Counts], number: int, counts: Counts) -> None:
    if number == len(pooled):
        pooled.append(counts)
    elif number != AS_IT_IS:
        pooled[number] = pooled[number] + counts
