"""What pruning and factorization were asked for and what came of it, in plain sentences: fewer multiplications are not always
less time.
"""

from collections.abc import Mapping
from typing import Any

from foldpress.benchmark.table import percent

CHANGES = {"pruning": "Pruned", "factorization": "Factorized"}  # keys of report.json, and what they tell
_LEFT = {"macs_left": "MACs", "parameters_left": "parameters", "bytes_left": "bytes of weights"}
_BEFORE = {"pruning": "unpruned", "factorization": "unfactorized"}  # the graph that the time is compared with


def told_changes(report: Mapping[str, Any]) -> list[str]:
    """One sentence for each of the two that was done."""
    return [_told(verb, report[key]) for key, verb in CHANGES.items() if report.get(key)]


def _told(verb: str, found: Mapping[str, Any]) -> str:
    asked = f"{found['budget']} = {found['asked']:g}" if found.get("budget") else found["method"]
    left = [f"{percent(found[key])} of the {name}" for key, name in _LEFT.items() if found.get(key) is not None]
    said = f"{verb} to {asked}" + (f": {', '.join(left)} are left" if left else "")
    return f"{said}; {told_time(found['time']) if found.get('time') else _untimed(found)}."


def told_time(time: Mapping[str, Any]) -> str:
    """Whether a change saved time or cost it, by how much, and where that was measured."""
    what = time["of"]
    where = f"in {time['precision']}, batch {time['batch']}, threads {time['threads']}"
    interval = f" ({time['low']:.3f}–{time['high']:.3f})" if time.get("low") is not None else ""
    told = f"{time['ratio']:.3f}{interval} of the {_BEFORE.get(what, 'original')} graph's time {where}"
    if time["costs_time"]:
        return f"{what} costs time: {told}; a budget in latency would not"
    return f"{what} saves time: {told}" if time["saves_time"] else f"{what} saves no time: {told}"


def _untimed(found: Mapping[str, Any]) -> str:
    return f"what that did to the time was not measured: {found.get('time_why') or 'no reason is recorded'}"
