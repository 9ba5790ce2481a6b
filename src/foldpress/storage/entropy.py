"""Entropy coding of symbols by asymmetric numeral systems (Duda, 2013, arXiv:1311.2540), by the library constriction.

n symbols with the frequencies p take n·H bits, H = −Σ p log₂ p, and nothing takes less as long as they are independent.
Frequencies are stored in steps of a quarter of an octave, a byte each: the coder believes in q instead of p and loses
D(p‖q), about (ln 2 / 4)²/24 nats = 0.002 bits of each symbol.
"""

from typing import Any

import constriction
import numpy as np
from numpy.typing import NDArray

Symbols = NDArray[np.int32]
Codes = NDArray[np.uint8]
Words = NDArray[np.uint32]
Counts = NDArray[np.int64]

_STEPS = 4  # of an octave
# 2^(i/4) in 20 bits: no machine rounds them otherwise, so that what one packs another unpacks.
_QUARTERS = np.round(np.exp2(np.arange(_STEPS) / _STEPS) * 2**19) / 2**19


def frequency_codes(counts: Counts) -> Codes:
    """How often each symbol occurs, [K], rounded to powers of 2^¼ and written as one byte each; 0: never."""
    seen = np.maximum(counts, 1)
    return np.where(counts > 0, 1 + np.round(_STEPS * np.log2(seen)), 0).astype(np.uint8)


def bits(counts: Counts, codes: Codes) -> float:
    """What coding symbols with these counts, [K], takes with these frequencies."""
    seen = counts > 0
    weights = _weights(codes)
    return float((counts[seen] * np.log2(weights.sum() / weights[seen])).sum())


def encode(symbols: Symbols, codes: Codes) -> Words:
    """Symbols in 0 … K − 1, [n], as 32-bit words."""
    if _certain(codes):
        return np.empty(0, np.uint32)
    coder = constriction.stream.stack.AnsCoder()
    coder.encode_reverse(symbols, _model(codes))
    return np.asarray(coder.get_compressed(), np.uint32)


def decode(words: Words, codes: Codes, count: int) -> Symbols:
    """The `count` symbols that `encode` was given."""
    if _certain(codes):
        return np.full(count, np.argmax(codes), np.int32)
    coder = constriction.stream.stack.AnsCoder(np.ascontiguousarray(words))
    return np.asarray(coder.decode(_model(codes), count), np.int32)


def _certain(codes: Codes) -> bool:
    """Whether there is but one symbol, which takes no bits."""
    return int((codes > 0).sum()) == 1


def _weights(codes: Codes) -> NDArray[np.float64]:
    octave, quarter = np.divmod(np.maximum(codes.astype(np.int32) - 1, 0), _STEPS)
    return np.asarray(np.where(codes > 0, np.ldexp(_QUARTERS[quarter], octave), 0.0))


def _model(codes: Codes) -> Any:
    return constriction.stream.model.Categorical(_weights(codes), perfect=False)
