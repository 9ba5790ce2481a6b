"""The gate: limits against evidence. PASS only where the evidence shows that a limit holds.

FAIL: what was measured breaks the limit. INCONCLUSIVE: it does not, but the confidence bound does, or the figure is
missing or no number; more samples may settle it. Neither lets a release through.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from scipy import stats

from foldpress.benchmark.checks import Check, Figures, below, number
from foldpress.benchmark.speed_checks import max_latency_p90, min_speedup
from foldpress.errors import RequestError

_UNASKED = "[data] metric was not measured, or its resamples show no spread"
_PROVABLE = 1e-9  # no data set is large enough to prove a smaller drop


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
    label, n, drop, _ = max(figures.class_drops, key=lambda entry: number(entry[2], math.inf))
    bound = max((entry[3] for entry in figures.class_drops), key=lambda bound: number(bound, math.inf))
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


def _max_disagreement(limit: float, figures: Figures) -> list[Check]:
    found = figures.agreement or {}
    what = "predictions of the artifact that change with how it is run"
    reason = found.get("share_why")
    return [
        below("max_disagreement", what, found.get("share"), found.get("share_upper"), limit, found.get("n"), reason)
    ]


_CHECKS: dict[str, Callable[[float, Figures], list[Check]]] = {
    "max_drop": _max_drop,
    "max_flips": _max_flips,
    "max_class_drop": _max_class_drop,
    "max_metric_drop": _max_metric_drop,
    "min_speedup": min_speedup,
    "max_bytes": _max_bytes,
    "max_latency_p90": max_latency_p90,
    "max_disagreement": _max_disagreement,
}
