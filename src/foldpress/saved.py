"""Finished runs: judging their saved evidence again, and drawing their reports again. Nothing is run."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from foldpress.benchmark.checks import Check, verdict_of
from foldpress.benchmark.evidence import changed_files, load_evidence
from foldpress.benchmark.report import build_report
from foldpress.benchmark.since import judge_since, open_release
from foldpress.benchmark.write import write_reports
from foldpress.errors import RequestError
from foldpress.rundir import read_manifest, write_manifest


def gate(
    folder: Path | str,
    *,
    limits: Mapping[str, float] | None = None,
    confidence: float | None = None,
    baseline: Path | str | None = None,
    since: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """Judge saved evidence again, running and writing nothing: {"verdict", "checks"}.

    Limits that are not given are those of the run. An unfinished run, or files that were changed after it, never pass.

    Args:
        folder: of the run.
        limits: in place of the run's, by name.
        confidence: in place of the run's.
        baseline: the last release's report.json, in the folder of its run.
        since: limits against the last release: `max_drop_since`, `max_growth`, `max_slowdown`.

    Raises:
        RequestError: there is no run, a limit is wrong, or the last release was judged on other data.
    """
    report = judge_saved(Path(folder), limits or {}, confidence, baseline, since or {})
    return {"verdict": report["verdict"], "checks": report["checks"]}


def judge_saved(
    folder: Path,
    limits: Mapping[str, float],
    confidence: float | None,
    baseline: Path | str | None,
    since: Mapping[str, float],
) -> dict[str, Any]:
    """As `gate`, and the whole report.json by the new limits; of a run that cannot be judged, verdict and checks only."""
    if since and baseline is None:
        raise RequestError(f"{', '.join(since)}: since which release?", mend="name its report.json as the baseline")
    last = None if baseline is None else open_release(Path(baseline))
    manifest = read_manifest(folder)
    if manifest is None:
        return _blocked("run", "the run did not finish: it has no manifest.json")
    if changed := changed_files(folder, manifest):
        return _blocked("evidence", "; ".join(changed[:3]))
    evidence = load_evidence(folder / "evidence")
    facts = evidence.facts
    if stale := _stale(facts, manifest):
        return _blocked("evidence", stale)
    report = build_report(evidence, {**facts["limits"], **limits}, confidence or facts["confidence"])
    if last is None:
        return report
    report["checks"] += [asdict(check) for check in judge_since(since, report, evidence, last)]
    return report | {"verdict": verdict_of([Check(**check) for check in report["checks"]])}


def report(folder: Path | str) -> dict[str, Any]:
    """Draw the reports of a finished run again from its evidence; gives report.json.

    Raises:
        RequestError: there is no finished run, or its evidence was changed.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    if manifest is None:
        raise RequestError(f"the run in {folder} did not finish", mend="foldpress run RECIPE -o DIR --resume")
    drawn = {"report.json", "report.html", "report.md", "junit.xml"}
    if changed := [one for one in changed_files(folder, manifest) if one.split()[0] not in drawn]:
        raise RequestError(
            f"the evidence in {folder} was changed: {'; '.join(changed[:3])}", mend="run the recipe again"
        )
    evidence = load_evidence(folder / "evidence")
    document = build_report(evidence, evidence.facts["limits"], evidence.facts["confidence"])
    write_reports(folder, document, evidence)
    write_manifest(folder, {key: value for key, value in manifest.items() if key != "files"})
    return document


def _stale(facts: dict[str, Any], manifest: dict[str, Any]) -> str | None:
    """Why the evidence is not about the graphs, the model and the data of this run; None where it is."""
    other = [name for name, graph in facts["graphs"].items() if graph["sha256"] != manifest["files"][name]["sha256"]]
    if other:
        return f"the evidence is about another {', another '.join(other)}"
    if facts["digests"] != manifest.get("digests"):
        return "the evidence was taken on another model or other data than the manifest names"
    return None


def _blocked(name: str, why: str) -> dict[str, Any]:
    check = Check(name, "INCONCLUSIVE", None, None, 0.0, None, why)
    return {"verdict": verdict_of([check]), "checks": [asdict(check)]}
