"""Widths of least error for a budget of time: the multiple-choice knapsack, by dynamic programming over the time that is saved.

Curves of latency have steps, and a whole branch may save much where its parts save nothing: channel by channel, one would
spend the accuracy on small cuts before the large one that makes them needless. With a_g(c) the time that group g saves alone at c
channels and l_g(c) its error there, the least error that saves at least s is, group by group (Kellerer et al. 2004, §11.5),

    L_g(s) = min over c of  L_{g−1}(max(0, s − a_g(c))) + l_g(c)

Where two groups meet in a layer, they save less together than alone; then more is asked for, until the whole saves enough.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from foldpress.optimizer.allocation import BudgetError, Plan
from foldpress.optimizer.ledger import LatencyLedger

_UNITS = 2000  # that the time to be saved is counted in; what a group saves is rounded down
_MORE = 1.02  # of what was asked for before


def allocate_time(plans: Sequence[Plan], ledger: LatencyLedger, budget: float) -> None:
    """Take the channels of least error in all that leave a share `budget` of the time.

    Raises:
        BudgetError: says the smallest budget that can be met.
    """
    steps = [ledger.steps(plan) for plan in plans]
    alone = [_saved(plans, ledger, plan, row) for plan, row in zip(plans, steps, strict=True)]
    losses = [np.array([plan.loss(one) for one in row]) for plan, row in zip(plans, steps, strict=True)]
    _take(plans, steps, [len(taken) - 1 for taken in steps])
    if (least := ledger.cost(plans) / ledger.total) > budget:
        raise BudgetError(ledger.kind, budget, least)
    need = (1 - budget) * ledger.total
    while (chosen := choose(alone, losses, need)) is not None:
        _take(plans, steps, chosen)
        if ledger.cost(plans) <= budget * ledger.total:
            return
        need *= _MORE
    _take(plans, steps, [len(taken) - 1 for taken in steps])


def choose(
    saved: Sequence[NDArray[np.float64]], losses: Sequence[NDArray[np.float64]], need: float
) -> list[int] | None:
    """One option of each group, of least loss in all, that together save `need`; None where they cannot.

    Args:
        saved: of each group, what every option saves; the first saves nothing.
        losses: of each group, what every option loses.
        need: more than zero.
    """
    best = np.full(_UNITS + 1, np.inf)
    best[0] = 0
    picked: list[NDArray[np.intp]] = []
    reach = np.arange(_UNITS + 1)
    units = [np.minimum(_UNITS, np.floor(_UNITS * one / need)).astype(np.intp) for one in saved]
    for gains, lost in zip(units, losses, strict=True):
        totals = best[np.maximum(0, reach[None] - gains[:, None])] + lost[:, None]
        picked.append(totals.argmin(0))
        best = totals.min(0)
    if not np.isfinite(best[_UNITS]):
        return None
    chosen, left = [], _UNITS
    for gains, pick in zip(reversed(units), reversed(picked), strict=True):
        chosen.append(int(pick[left]))
        left = max(0, left - int(gains[chosen[-1]]))
    return chosen[::-1]


def _saved(plans: Sequence[Plan], ledger: LatencyLedger, plan: Plan, steps: Sequence[int]) -> NDArray[np.float64]:
    """Milliseconds that one plan saves alone at every step."""
    costs = []
    for plan.taken in steps:
        costs.append(ledger.cost(plans))
    plan.taken = 0
    return np.maximum(0, costs[0] - np.array(costs))


def _take(plans: Sequence[Plan], steps: Sequence[Sequence[int]], chosen: Sequence[int]) -> None:
    for plan, taken, option in zip(plans, steps, chosen, strict=True):
        plan.taken = taken[option]
