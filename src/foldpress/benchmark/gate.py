"""The gate: limits against evidence. PASS only where the evidence shows that a limit holds.

FAIL: what was measured breaks the limit. INCONCLUSIVE: it does not, but the confidence bound does, or the figure is
missing or no number; more samples may settle it. Neither lets a release through.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from scipy import stats

from foldpress.benchmark.ratios import doubt
from foldpress.errors import RequestError

Verdict = Literal["PASS", "FAIL", "INCONCLUSIVE"]
EXIT_CODES: dict[str, int] = {"PASS": 0, "FAIL": 1, "INCONCLUSIVE": 3}
_UNASKED = "[data] metric was not measured, or its resamples show no spread"
_CPU = "CPUExecutionProvider"
_PROVABLE = 1e-9  # no data set is large enough to prove a smaller drop


@dataclass(frozen=True)
class Check:
    """One limit and what became of it. `value` was measured; `bound` is how bad the truth may be."""

    name: str
    verdict: Verdict
    value: float | None
    bound: float | None
    limit: float
    n: int | None
    why: str


@dataclass(frozen=True)
class Figures:
    """What the gate looks at; None where it was not asked for, and empty where it is missing.

    `class_drops` has (class, samples, drop, upper bound); `latency` the artifact's rows of report.json.
    """

    confidence: float
    test: dict[str, Any] | None = None
    folds: dict[str, Any] | None = None
    class_drops: list[tuple[int, int, float, float]] | None = None
    artifact_bytes: int | None = None
    latency: list[dict[str, Any]] | None = None
    refit: dict[str, Any] | None = None
    whole_set: dict[str, Any] | None = None
    whole_set_folds: dict[str, Any] | None = None
    agreement: dict[str, Any] | None = None


def judge(limits: Mapping[str, float], figures: Figures) -> list[Check]:
    """Every check that the limits ask for.

    Raises:
        RequestError: no limit, an unknown one, or one that is negative or no number.
    """
    check_limits(limits, tuple(_CHECKS))
    return [check for name, limit in limits.items() for check in _CHECKS[name](limit, figures)]


def check_limits(limits: Mapping[str, float], known: tuple[str, ...]) -> None:
    """Refuse what is no set of limits.

    Raises:
        RequestError: no limit, an unknown one, or one that is negative or no number.
    """
    if not limits:
        raise RequestError(
            "no limit is set: a gate without one would let everything through", available=", ".join(known)
        )
    for name, limit in limits.items():
        if name not in known:
            raise RequestError(f"there is no limit {name!r}", available=", ".join(known))
        if not (math.isfinite(limit) and limit >= 0):
            raise RequestError(f"the limit {name} = {limit} is no number of zero or more")


def verdict_of(checks: list[Check]) -> Verdict:
    """The verdict on all checks: FAIL outweighs INCONCLUSIVE outweighs PASS, and no check at all is no PASS."""
    verdicts = {check.verdict for check in checks}
    if "FAIL" in verdicts:
        return "FAIL"
    return "PASS" if verdicts == {"PASS"} else "INCONCLUSIVE"


def _max_drop(limit: float, figures: Figures) -> list[Check]:
    checks = [_drop("max_drop", "the shipped graph, test split", limit, figures.test, figures.confidence)]
    if figures.folds is not None:
        checks.append(_drop("max_drop_folds", "the recipe, held-out folds", limit, figures.folds, figures.confidence))
    if figures.refit is not None:
        checks.append(_drop("max_drop_refit", "networks trained anew", limit, figures.refit, figures.confidence))
    return checks


def _drop(name: str, what: str, limit: float, block: dict[str, Any] | None, confidence: float) -> Check:
    block = block or {}
    check = below(name, f"drop of {what}", block.get("drop"), block.get("drop_upper"), limit, block.get("n"))
    if check.verdict != "INCONCLUSIVE" or check.value is None or check.bound is None or check.n is None:
        return check
    if limit <= max(check.value, _PROVABLE):
        return replace(check, why=f"{check.why}; no number of samples shows it")
    if block.get("flips") == 0:  # the bound is z²/(n + z²)
        needed = float(stats.norm.ppf(confidence)) ** 2 * (1 - limit) / limit
    else:  # its distance from the drop shrinks with the root of n
        needed = check.n * ((check.bound - check.value) / (limit - check.value)) ** 2
    told = f"about {math.ceil(needed)} samples would settle it, if the rest is like these"
    return replace(check, why=f"{check.why}; {told}")


def _max_flips(limit: float, figures: Figures) -> list[Check]:
    test = figures.test or {}
    bound = test.get("flips_upper")
    return [
        below("max_flips", "changed predictions", test.get("flips"), bound, limit, test.get("n"), test.get("flips_why"))
    ]


def _max_class_drop(limit: float, figures: Figures) -> list[Check]:
    if not figures.class_drops:
        return [below("max_class_drop", "drop of a class", None, None, limit, None, "there are no classes")]
    # What is no number counts as the worst: NaN compares false, and would else be passed over.
    label, n, drop, _ = max(figures.class_drops, key=lambda entry: _number(entry[2], math.inf))
    bound = max((entry[3] for entry in figures.class_drops), key=lambda bound: _number(bound, math.inf))
    return [below("max_class_drop", f"largest drop of a class ({label})", drop, bound, limit, n)]


def _max_metric_drop(limit: float, figures: Figures) -> list[Check]:
    checks = [_metric_drop("max_metric_drop", "the test split", limit, figures.whole_set)]
    if figures.whole_set_folds is not None:
        checks.append(_metric_drop("max_metric_drop_folds", "the held-out folds", limit, figures.whole_set_folds))
    return checks


def _metric_drop(name: str, where: str, limit: float, block: dict[str, Any] | None) -> Check:
    block = block or {}
    what = f"drop of {block.get('metric', 'the whole set')} on {where}"
    return below(name, what, block.get("drop"), block.get("drop_upper"), limit, block.get("n"), _UNASKED)


def _max_bytes(limit: float, figures: Figures) -> list[Check]:
    size = figures.artifact_bytes
    return [below("max_bytes", "size of the artifact in bytes", size, size, limit, None)]


def _min_speedup(limit: float, figures: Figures) -> list[Check]:
    if not figures.latency:
        return [Check("min_speedup", "INCONCLUSIVE", None, None, limit, None, "latency was not measured")]
    slowest_first = sorted(figures.latency, key=lambda row: _number(row["speedup_low"], -math.inf))
    return [_worst([_speedup(limit, row) for row in slowest_first])]


def _speedup(limit: float, row: dict[str, Any]) -> Check:
    value, low = row["speedup"], row["speedup_low"]
    what = f"speedup on {row['provider']} at batch {row['batch']}"
    verdict: Verdict
    if elsewhere := _elsewhere(row):
        verdict, why = "INCONCLUSIVE", f"{what} was not measured: {elsewhere}"
        value, low = _known(value, low)
    elif value is None or low is None or not _finite(value, low):
        verdict, why = "INCONCLUSIVE", f"{what} was not measured: {row.get('speedup_low_why', 'no figure')}"
        value, low = _known(value, low)
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


def _max_latency_p90(limit: float, figures: Figures) -> list[Check]:
    slowest_first = sorted(figures.latency or [{}], key=lambda row: -_number(row.get("p90_upper_ms"), math.inf))
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


def _max_disagreement(limit: float, figures: Figures) -> list[Check]:
    found = figures.agreement or {}
    what = "predictions of the artifact that change with how it is run"
    reason = found.get("share_why")
    return [
        below("max_disagreement", what, found.get("share"), found.get("share_upper"), limit, found.get("n"), reason)
    ]


def _worst(checks: list[Check]) -> Check:
    """Of one limit's checks in several settings, the first that no other is worse than."""
    return next(check for check in checks if check.verdict == verdict_of(checks))


def below(
    name: str,
    what: str,
    value: float | None,
    bound: float | None,
    limit: float,
    n: int | None,
    reason: str | None = None,
) -> Check:
    """A figure that must stay at or under its limit."""
    if not _finite(value, bound) or value is None or bound is None:
        return Check(
            name, "INCONCLUSIVE", *_known(value, bound), limit, n, f"{what}: not known ({reason or 'not measured'})"
        )
    shown = f"{what} is {_figure(value)}"
    if value > limit:
        return Check(name, "FAIL", value, bound, limit, n, f"{shown}, over the limit {_figure(limit)}")
    if bound > limit:
        return Check(
            name,
            "INCONCLUSIVE",
            value,
            bound,
            limit,
            n,
            f"{shown}, but may be {_figure(bound)}; the limit is {_figure(limit)}",
        )
    most = "" if bound == value else f", at most {_figure(bound)}"
    return Check(name, "PASS", value, bound, limit, n, f"{shown}{most}; the limit is {_figure(limit)}")


def _figure(number: float) -> str:
    """Bytes to the byte, everything else to four digits."""
    return f"{number:,.0f}" if abs(number) >= 1000 else f"{number:.4g}"


def _finite(*numbers: float | None) -> bool:
    return all(number is not None and math.isfinite(number) for number in numbers)


def _known(*numbers: float | None) -> tuple[float | None, float | None]:
    first, second = (number if _finite(number) else None for number in numbers)
    return first, second


def _number(value: float | None, otherwise: float) -> float:
    return value if value is not None and math.isfinite(value) else otherwise


_CHECKS: dict[str, Callable[[float, Figures], list[Check]]] = {
    "max_drop": _max_drop,
    "max_flips": _max_flips,
    "max_class_drop": _max_class_drop,
    "max_metric_drop": _max_metric_drop,
    "min_speedup": _min_speedup,
    "max_bytes": _max_bytes,
    "max_latency_p90": _max_latency_p90,
    "max_disagreement": _max_disagreement,
}
