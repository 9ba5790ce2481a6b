"""The gate: limits against evidence. PASS only where the evidence shows that a limit holds.

FAIL: what was measured breaks the limit. INCONCLUSIVE: it does not, but the confidence bound does, or the figure is
missing or no number; more samples may settle it. Neither lets a release through.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from scipy import stats

from foldpress.errors import RequestError

Verdict = Literal["PASS", "FAIL", "INCONCLUSIVE"]
EXIT_CODES: dict[str, int] = {"PASS": 0, "FAIL": 1, "INCONCLUSIVE": 3}


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
    """What the gate looks at; None where it was not measured.

    `class_drops` has (class, samples, drop, upper bound); `latency` the artifact's rows of report.json.
    """

    confidence: float
    test: dict[str, Any] | None = None
    folds: dict[str, Any] | None = None
    class_drops: list[tuple[int, int, float, float]] | None = None
    artifact_bytes: int | None = None
    latency: list[dict[str, Any]] | None = None


def judge(limits: Mapping[str, float], figures: Figures) -> list[Check]:
    """Every check that the limits ask for.

    Raises:
        RequestError: no limit, an unknown one, or one that is negative or no number.
    """
    if not limits:
        raise RequestError(
            "no limit is set: a gate without one would let everything through", available=", ".join(_CHECKS)
        )
    for name, limit in limits.items():
        if name not in _CHECKS:
            raise RequestError(f"there is no limit {name!r}", available=", ".join(_CHECKS))
        if not (math.isfinite(limit) and limit >= 0):
            raise RequestError(f"the limit {name} = {limit} is no number of zero or more")
    return [check for name, limit in limits.items() for check in _CHECKS[name](limit, figures)]


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
    return checks


def _drop(name: str, what: str, limit: float, block: dict[str, Any] | None, confidence: float) -> Check:
    block = block or {}
    check = _below(name, f"drop of {what}", block.get("drop"), block.get("drop_upper"), limit, block.get("n"))
    if check.verdict != "INCONCLUSIVE" or check.bound is None or limit == 0:
        return check
    z = float(stats.norm.ppf(confidence))
    needed = math.ceil(z * z * (1 - limit) / limit)
    return replace(check, why=f"{check.why}; without any flip it takes {needed} samples, with flips more")


def _max_flips(limit: float, figures: Figures) -> list[Check]:
    test = figures.test or {}
    bound = test.get("flips_upper")
    return [
        _below(
            "max_flips", "changed predictions", test.get("flips"), bound, limit, test.get("n"), test.get("flips_why")
        )
    ]


def _max_class_drop(limit: float, figures: Figures) -> list[Check]:
    if not figures.class_drops:
        return [_below("max_class_drop", "drop of a class", None, None, limit, None, "there are no classes")]
    label, n, drop, _ = max(figures.class_drops, key=lambda entry: entry[2])
    bound = max(entry[3] for entry in figures.class_drops)
    return [_below("max_class_drop", f"largest drop of a class ({label})", drop, bound, limit, n)]


def _max_bytes(limit: float, figures: Figures) -> list[Check]:
    size = figures.artifact_bytes
    return [_below("max_bytes", "size of the artifact in bytes", size, size, limit, None)]


def _min_speedup(limit: float, figures: Figures) -> list[Check]:
    rows = figures.latency or []
    if not rows:
        return [Check("min_speedup", "INCONCLUSIVE", None, None, limit, None, "latency was not measured")]
    row = min(rows, key=lambda entry: _number(entry["speedup_low"], -math.inf))
    value, low = row["speedup"], row["speedup_low"]
    where = f"on {row['provider']} at batch {row['batch']}"
    if not _finite(value, low):
        verdict, why = "INCONCLUSIVE", f"speedup {where} was not measured: {row.get('speedup_low_why', 'no figure')}"
    elif value < limit:
        verdict, why = "FAIL", f"speedup {where} is {value:.3g}, below the limit {limit:g}"
    elif low < limit:
        verdict, why = (
            "INCONCLUSIVE",
            f"speedup {where} is {value:.3g}, but may be as low as {low:.3g}; the limit is {limit:g}",
        )
    else:
        verdict, why = "PASS", f"speedup {where} is {value:.3g}, at least {low:.3g}; the limit is {limit:g}"
    return [Check("min_speedup", verdict, value, low, limit, row["n"], why)]  # type: ignore[arg-type]


def _max_latency_p90(limit: float, figures: Figures) -> list[Check]:
    rows = figures.latency or []
    row: dict[str, Any] = max(rows, key=lambda entry: _number(entry["p90_ms"], math.inf)) if rows else {}
    p90, reason = row.get("p90_ms"), row.get("p90_ms_why")
    return [_below("max_latency_p90", "p90 latency in ms", p90, row.get("p90_upper_ms"), limit, row.get("n"), reason)]


def _below(
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
    shown = f"{what} is {value:.4g}"
    if value > limit:
        return Check(name, "FAIL", value, bound, limit, n, f"{shown}, over the limit {limit:g}")
    if bound > limit:
        return Check(
            name, "INCONCLUSIVE", value, bound, limit, n, f"{shown}, but may be {bound:.4g}; the limit is {limit:g}"
        )
    most = "" if bound == value else f", at most {bound:.4g}"
    return Check(name, "PASS", value, bound, limit, n, f"{shown}{most}; the limit is {limit:g}")


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
    "min_speedup": _min_speedup,
    "max_bytes": _max_bytes,
    "max_latency_p90": _max_latency_p90,
}
