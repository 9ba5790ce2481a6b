"""How many samples a margin needs, said before anything is run.

If nothing flips at all, Tango's bound is z²/(n + z²) and Clopper and Pearson's 1 − α^(1/n): below that many samples no graph
can pass. If a share f of the predictions flips both ways alike, the drop has the variance f/n, and a graph that loses
nothing passes with a chance of 80 % from n = f ((z_α + z_0.8) / margin)² on (the usual sample size for non-inferiority).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from foldpress.benchmark.labels import counted
from foldpress.identity import Identity

POWER, USUAL_FLIPS = 0.8, 0.02


@dataclass(frozen=True)
class Plan:
    """What one limit asks of the test split; `enough` is whether a graph that changes nothing could pass."""

    limit: str
    enough: bool
    detail: str

    def as_json(self) -> dict[str, str]:
        """The plan as a log entry."""
        action = "done" if self.enough else "declined"
        return {"pass": "samples", "subject": self.limit, "action": action, "detail": self.detail}


def samples_without_flips(margin: float, confidence: float, groups: int | None = None) -> int:
    """The fewest samples that show a drop below `margin` where nothing flips; by Student's quantile in so many groups."""
    z = stats.norm.ppf(confidence) if groups is None else stats.t.ppf(confidence, max(groups - 1, 1))
    return max(math.ceil(float(z) ** 2 * (1 - margin) / margin), 1)


def samples_with_flips(margin: float, confidence: float, flips: float = USUAL_FLIPS, power: float = POWER) -> int:
    """The samples at which a graph passes so often that loses nothing, but flips so many predictions."""
    z = stats.norm.ppf(confidence) + stats.norm.ppf(power)
    return math.ceil(flips * (float(z) / margin) ** 2)


def plan_samples(
    limits: Mapping[str, float], confidence: float, identity: Identity, targets: NDArray[np.int64]
) -> list[Plan]:
    """What each limit on classes asks of the samples of the test split.

    Args:
        limits: the gate's.
        confidence: one-sided.
        identity: which samples of the split are copies, and which may err together.
        targets: their labels, [n], or [n, …] where each has several.
    """
    n, groups = len(np.unique(identity.sample)), len(np.unique(identity.group))
    clustered = groups if groups < n else None
    plans = []
    if margin := limits.get("max_drop"):
        fewest = samples_without_flips(margin, confidence, clustered)
        usual = samples_with_flips(margin, confidence)
        rest = f"{usual} for a chance of {POWER:.0%} if {USUAL_FLIPS:.0%} of the predictions flip"
        plans.append(_plan("max_drop", margin, n, fewest, rest))
    if 0 < (margin := limits.get("max_flips", 0.0)) < 1:
        fewest = math.ceil(math.log(1 - confidence) / math.log(1 - margin))
        plans.append(_plan("max_flips", margin, n, fewest, "more with every flip"))
    if margin := limits.get("max_class_drop"):
        counts = _by_class(targets[np.unique(identity.sample, return_index=True)[1]])
        fewest = samples_without_flips(margin, 1 - (1 - confidence) / len(counts), clustered)
        plans.append(_plan("max_class_drop", margin, min(counts), fewest, "more with every flip", " in each class"))
    return plans


def _by_class(targets: NDArray[np.int64]) -> list[int]:
    """How many samples have each class."""
    classes = np.unique(targets[counted(targets)])
    return [int((targets == label).reshape(len(targets), -1).any(1).sum()) for label in classes]


def _plan(limit: str, margin: float, n: int, fewest: int, rest: str, where: str = "") -> Plan:
    needs = (
        f"{limit} = {margin:g} needs {fewest} test samples{where} if nothing changes at all, and {rest}; there are {n}"
    )
    if n >= fewest:
        return Plan(limit, enough=True, detail=needs)
    return Plan(limit, enough=False, detail=f"{needs}: it cannot pass, and the run can end INCONCLUSIVE at best")
