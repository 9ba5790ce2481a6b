"""Limits of time against what was measured, in every setting that was timed."""

import math
from typing import Any

from foldpress.benchmark.checks import Check, Figures, Verdict, below, finite, known, number, verdict_of
from foldpress.benchmark.ratios import doubt

_CPU = "CPUExecutionProvider"


def min_speedup(limit: float, figures: Figures) -> list[Check]:
    """The artifact is at least so many times as fast, at every batch size and thread count."""
    if not figures.latency:
        return [Check("min_speedup", "INCONCLUSIVE", None, None, limit, None, "latency was not measured")]
    slowest_first = sorted(figures.latency, key=lambda row: number(row["speedup_low"], -math.inf))
    return [_worst([_speedup(limit, row) for row in slowest_first])]


def _speedup(limit: float, row: dict[str, Any]) -> Check:
    value, low = row["speedup"], row["speedup_low"]
    what = f"speedup on {row['provider']} at batch {row['batch']}"
    verdict: Verdict
    if elsewhere := _elsewhere(row):
        verdict, why = "INCONCLUSIVE", f"{what} was not measured: {elsewhere}"
        value, low = known(value, low)
    elif value is None or low is None or not finite(value, low):
        verdict, why = "INCONCLUSIVE", f"{what} was not measured: {row.get('speedup_low_why', 'no figure')}"
        value, low = known(value, low)
    elif value < limit:
        verdict, why = "FAIL", f"{what} is {value:.3g}, below the limit {limit:g}"
    elif low < limit:
        verdict, why = "INCONCLUSIVE", f"{what} is {value:.3g}, but may be as low as {low:.3g}; the limit is {limit:g}"
    elif reason := doubt(row, limit):
        verdict, why = (
            "INCONCLUSIVE",
            f"{what} is {value:.3g}, at least {low:.3g}, but {reason}; the limit is {limit:g}",
        )
    else:
        verdict, why = "PASS", f"{what} is {value:.3g}, at least {low:.3g}; the limit is {limit:g}"
    return Check("min_speedup", verdict, value, low, limit, row["n"], why)


def max_latency_p90(limit: float, figures: Figures) -> list[Check]:
    """Of 100 runs, 90 take no longer."""
    slowest_first = sorted(figures.latency or [{}], key=lambda row: -number(row.get("p90_upper_ms"), math.inf))
    return [_worst([_p90(limit, row) for row in slowest_first])]


def _p90(limit: float, row: dict[str, Any]) -> Check:
    elsewhere = _elsewhere(row)
    value, bound = (None, None) if elsewhere else (row.get("p90_ms"), row.get("p90_upper_ms"))
    reason = elsewhere or row.get("p90_ms_why")
    return below("max_latency_p90", "p90 latency in ms", value, bound, limit, row.get("n"), reason)


def _elsewhere(row: dict[str, Any]) -> str | None:
    """Why a latency is not that of the provider asked for; None where it is. The CPU has nothing to fall back to."""
    provider = row.get("provider")
    if provider in (None, _CPU):
        return None
    share = (row.get("placement") or {}).get(provider, 0.0)
    return None if share == 1 else f"{provider} ran {share:.0%} of the nodes"


def _worst(checks: list[Check]) -> Check:
    """Of one limit's checks in several settings, the first that no other is worse than."""
    return next(check for check in checks if check.verdict == verdict_of(checks))
