"""A limit beside its evidence: what a check says, and how several of them add up."""

import math
from dataclasses import dataclass
from typing import Any, Literal

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


def verdict_of(checks: list[Check]) -> Verdict:
    """The verdict on all checks: FAIL outweighs INCONCLUSIVE outweighs PASS, and no check at all is no PASS."""
    verdicts = {check.verdict for check in checks}
    if "FAIL" in verdicts:
        return "FAIL"
    return "PASS" if verdicts == {"PASS"} else "INCONCLUSIVE"


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
    if not finite(value, bound) or value is None or bound is None:
        return Check(
            name, "INCONCLUSIVE", *known(value, bound), limit, n, f"{what}: not known ({reason or 'not measured'})"
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


def finite(*numbers: float | None) -> bool:
    """Whether all are there, and numbers."""
    return all(one is not None and math.isfinite(one) for one in numbers)


def known(*numbers: float | None) -> tuple[float | None, float | None]:
    """Two figures, None where one is no number."""
    first, second = (one if finite(one) else None for one in numbers)
    return first, second


def number(value: float | None, otherwise: float) -> float:
    """A figure, or what it counts as where it is no number."""
    return value if value is not None and math.isfinite(value) else otherwise
