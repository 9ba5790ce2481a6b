"""How many times faster? A ratio with its interval, from blocks of runs that took turns, in several fresh processes.

Blocks of the same round pair up: what slows the machine down slows both. Each process gives one log-ratio, the median
over its rounds, which a burst of other work does not move. Processes differ by more than the rounds within one of them
(memory lands elsewhere), and there are few, so the interval is Student's t over processes, those weighing less that other
work disturbed throughout; a bootstrap of five values covers 85 % where 95 is asked for.

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
    found = np.array([_log_ratio(*pair) for pair in zip(slow, fast, strict=True)])
    return ratio_interval(found[:, 0], found[:, 1], confidence)


def ratio_interval(log_ratios: NDArray[np.float64], variances: NDArray[np.float64], confidence: float = 0.95) -> Ratio:
    """A ratio from the log-ratio of each process: their weighted mean, and Student's t interval over processes.

    Weights and interval are those of a random-effects meta-analysis with k − 1 degrees of freedom (J. Hartung and
    G. Knapp, Statistics in Medicine 20, 2001, 3875–3889), processes being the studies:

        w = 1 / (v + median(v)),   m = Σ w y / Σ w,   m ± t √(Σ w (y − m)² / ((k − 1) Σ w))

    The median of the variances v stands for what processes differ by. So none weighs more than twice as much as the typical
    one, and only those that other work disturbed weigh less; with equal variances it is Student's t interval.

    Args:
        log_ratios: y, [processes].
        variances: v, [processes], of each log-ratio as its own rounds tell.
        confidence: two-sided.
    """
    typical, count = float(np.median(variances)), len(log_ratios)
    weights = 1 / (variances + typical) if typical > 0 else np.ones(count)
    mean = float(np.average(log_ratios, weights=weights))
    if count < 2:  # a spread needs two
        return Ratio(math.exp(mean), None, None)
    spread = float(np.average((log_ratios - mean) ** 2, weights=weights)) / (count - 1)
    half = float(stats.t.ppf((1 + confidence) / 2, count - 1)) * math.sqrt(spread)
    return Ratio(math.exp(mean), math.exp(mean - half), math.exp(mean + half))


def _log_ratio(slow: Sequence[Sequence[float]], fast: Sequence[Sequence[float]]) -> tuple[float, float]:
    """The log-ratio of one process, the median over rounds of the paired blocks' medians; and its variance.

    The variance of a median is π/2 σ²/n; σ is told by the median absolute deviation, which a burst does not move.
    """
    rounds = np.log(np.median(slow, axis=1) / np.median(fast, axis=1))
    centre = float(np.median(rounds))
    deviation = float(np.median(np.abs(rounds - centre))) / float(stats.norm.ppf(0.75))
    return centre, math.pi / 2 * deviation**2 / len(rounds)


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
