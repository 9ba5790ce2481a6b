"""Against the last release: has the artifact grown, slowed down, or lost accuracy since?

Accuracy is paired: both artifacts answered the same test samples, so what is bounded is the share that this release lost and
the last had right. Speed is compared by each artifact's ratio to one and the same float graph, timed in turns with it:
latencies of two days do not compare. What cannot be compared is INCONCLUSIVE; other data are refused.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from foldpress.benchmark.accuracy import distinct, test_block
from foldpress.benchmark.checks import Check, below
from foldpress.benchmark.evidence import Evidence, Paired, changed_files, load_evidence
from foldpress.benchmark.gate import check_limits
from foldpress.errors import RequestError
from foldpress.rundir import MANIFEST, read_manifest

LIMITS = ("max_drop_since", "max_growth", "max_slowdown")
_SETTING = ("provider", "batch", "threads")


@dataclass(frozen=True, eq=False)
class Release:
    """A report, and the test split's answers where its run's folder is whole."""

    document: dict[str, Any]
    test: Paired | None


def open_release(path: Path) -> Release:
    """Read the last release: a report.json, with its evidence beside it, or the folder of its run.

    Raises:
        RequestError: there is no such report, it is damaged, or its evidence was changed.
    """
    path = path / "report.json" if path.is_dir() else path
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(document, dict) or not {"schema", "graphs", "accuracy", "digests"} <= document.keys():
            raise ValueError("it is no report of a run")
    except (OSError, ValueError) as error:
        raise RequestError(
            f"no readable report in {path}: {error}", mend="give the last release's report.json"
        ) from error
    if not (path.parent / MANIFEST).is_file():
        return Release(document, None)
    manifest = read_manifest(path.parent)
    if manifest is None or (changed := changed_files(path.parent, manifest)):
        raise RequestError(f"the last release's run in {path.parent} was changed: {'; '.join(changed[:3])}")
    return Release(document, load_evidence(path.parent / "evidence").test)


def judge_since(limits: Mapping[str, float], report: dict[str, Any], evidence: Evidence, last: Release) -> list[Check]:
    """Every check that the limits ask for.

    Args:
        limits: by name: `max_drop_since`, the margin on the upper bound of the accuracy lost; `max_growth`, the share of
            bytes gained; `max_slowdown`, the share of speed lost, on the unfavourable ends of both intervals.
        report: of this release.
        evidence: of this release.
        last: the release before.

    Raises:
        RequestError: no limit or a wrong one, or a release on other data, by another metric, or of another schema.
    """
    check_limits(limits, LIMITS)
    for what, one, other in _identities(report, last.document):
        if one != other:
            raise RequestError(
                f"the last release has another {what}: the two do not compare",
                mend="run the last release's recipe again",
            )
    checks = {"max_drop_since": _drop, "max_growth": _growth, "max_slowdown": _slowdown}
    return [checks[name](limit, report, evidence, last) for name, limit in limits.items()]


def _identities(report: dict[str, Any], last: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    return [
        ("schema", report["schema"], last["schema"]),
        ("data set (digest)", report["digests"].get("data"), last["digests"].get("data")),
        ("task", report["task"], last.get("task")),
        ("metric", report["accuracy"]["metric"], last["accuracy"].get("metric")),
    ]


def _drop(limit: float, report: dict[str, Any], evidence: Evidence, last: Release) -> Check:
    name, what = "max_drop_since", "drop since the last release"
    now = evidence.test
    if now is None or last.test is None:
        return below(name, what, None, None, limit, None, "its evidence is needed: keep the whole folder of its run")
    now, before = _ordered(now), _ordered(last.test)
    if not np.array_equal(now.sample, before.sample):
        return below(name, what, None, None, limit, None, "it was judged on other test samples")
    table = Paired(now.sample, now.repeat, now.fold, now.target, before.artifact, now.artifact,
                   before.artifact_score, now.artifact_score, now.group)  # fmt: skip
    block = test_block(table, bool(evidence.facts["has_labels"]), report["confidence"])
    return below(name, what, block["drop"], block["drop_upper"], limit, block["n"])


def _ordered(table: Paired) -> Paired:
    table = distinct(table)
    order = np.argsort(table.sample)
    return Paired(**{name: getattr(table, name)[order] for name in Paired.__dataclass_fields__})


def _growth(limit: float, report: dict[str, Any], _: Evidence, last: Release) -> Check:
    now, before = (one["graphs"].get(one["artifact"], {}).get("bytes") for one in (report, last.document))
    grown = now / before - 1 if now and before else None
    return below("max_growth", "growth of the artifact since the last release", grown, grown, limit, None)


def _slowdown(limit: float, report: dict[str, Any], _: Evidence, last: Release) -> Check:
    name, what = "max_slowdown", "slow-down since the last release"
    if reason := _other_machine(report, last.document):
        return below(name, what, None, None, limit, None, reason)
    before = {_setting(row): row for row in _rows(last.document)}
    found = [_slower(row, before.get(_setting(row))) for row in _rows(report)]
    if not found or None in found:
        return below(name, what, None, None, limit, None, "not timed in the same settings both times")
    value, bound = (max(figures) for figures in zip(*filter(None, found), strict=True))
    return below(name, what, value, bound, limit, None)


def _slower(now: dict[str, Any], before: dict[str, Any] | None) -> tuple[float, float] | None:
    """The share of speed lost, and how much it may be: the last release at its fastest, this one at its slowest."""
    figures = [(now.get("speedup"), now.get("speedup_low"))]
    figures.append((before.get("speedup"), before.get("speedup_high")) if before else (None, None))
    (speed, slowest), (old, fastest) = figures
    return (old / speed - 1, fastest / slowest - 1) if speed and slowest and old and fastest else None


def _other_machine(report: dict[str, Any], last: dict[str, Any]) -> str | None:
    """Why speeds do not compare; None where they do."""
    here, there = (one["environment"].get("processor") for one in (report, last))
    if here != there:
        return f"it was timed on another processor: {there}"
    float32, other = (next(iter(one["graphs"].values())).get("sha256") for one in (report, last))
    return None if float32 == other else "its float graph is another one, and speeds are ratios to it"


def _rows(report: dict[str, Any]) -> list[dict[str, Any]]:
    return [row for row in report.get("latency") or [] if row["graph"] == report["artifact"]]


def _setting(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row.get(key) for key in _SETTING)
