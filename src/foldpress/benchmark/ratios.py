"""How many times faster? A ratio with its interval, from blocks of runs that took turns, in several fresh processes.

Blocks of the same round pair up: what slows the machine down slows both. Each process gives one log-ratio, the median
over its rounds, which a burst of other work does not move. Processes differ by more than the rounds within one of them
(memory lands elsewhere), and there are few, so the interval is Student's t over processes; a bootstrap of five values
covers 85 % where 95 is asked for.

The reference is also timed against itself, as a second session of the same graph. That ratio is 1; its interval shows
what this machine, at this time, makes of no difference at all (A/A test).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Blocks = Sequence[Sequence[Sequence[float]]]  # [process][round][run], milliseconds
AA_CONFIDENCE = 0.99  # a false alarm of the A/A test stops a release that is right


@dataclass(frozen=True)
class Ratio:
    """A ratio and the limits of its two-sided interval, which are None where one process alone was run."""

    value: float
    low: float | None
    high: float | None

    def excludes_one(self) -> bool:
        """Whether the interval says that there is a difference."""
        return self.low is not None and self.high is not None and not self.low <= 1 <= self.high

    def half_width(self) -> float:
        """Half the interval's width, as a share of the ratio."""
        return math.inf if self.low is None or self.high is None else math.sqrt(self.high / self.low) - 1


def ratio_of(slow: Blocks, fast: Blocks, confidence: float = 0.95) -> Ratio:
    """How many times the time of `fast` `slow` takes; both are [process][round][run] of interleaved blocks."""
    return ratio_interval([_log_ratio(*pair) for pair in zip(slow, fast, strict=True)], confidence)


def ratio_interval(log_ratios: Sequence[float] | NDArray[Any], confidence: float = 0.95) -> Ratio:
    """A ratio from the log-ratio of each process: their mean, and Student's t interval over processes.

    Args:
        log_ratios: [processes], one for each process.
        confidence: two-sided.
    """
    values = np.asarray(log_ratios, float)
    mean, count = float(values.mean()), len(values)
    if count < 2:  # a spread needs two
        return Ratio(math.exp(mean), None, None)
    half = float(stats.t.ppf((1 + confidence) / 2, count - 1) * values.std(ddof=1)) / math.sqrt(count)
    return Ratio(math.exp(mean), math.exp(mean - half), math.exp(mean + half))


def _log_ratio(slow: Sequence[Sequence[float]], fast: Sequence[Sequence[float]]) -> float:
    """The log-ratio of one process: the median over rounds of the paired blocks' medians."""
    return float(np.median(np.log(np.median(slow, axis=1) / np.median(fast, axis=1))))


def doubt(row: Mapping[str, Any], limit: float) -> str | None:
    """Why a row of `latency` cannot show that its speedup is above a limit: the A/A test fails, or hides the difference.

    Args:
        row: with `speedup`, `aa_ratio`, `aa_low` and `aa_high`.
        limit: what the speedup is claimed to reach; the effect claimed is their ratio.
    """
    low, high = row.get("aa_low"), row.get("aa_high")
    if low is None or high is None or not (math.isfinite(high) and low > 0):
        return f"the A/A test is missing: {row.get('aa_low_why') or 'the baseline was not timed against itself'}"
    itself = f"the baseline timed against itself is {row['aa_ratio']:.3g} times as fast ({low:.4g}–{high:.4g})"
    if not low <= 1 <= high:
        return f"the A/A test fails: {itself}, so this timing finds differences where there are none"
    if limit > 0 and high / low >= row["speedup"] / limit:
        return f"the A/A test hides it: {itself}, which is wider than from the limit to what was measured"
    return None
