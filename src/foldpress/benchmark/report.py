"""report.json from evidence and limits: a pure function, so that saved evidence can be judged again."""

import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from foldpress.benchmark.accuracy import class_drops, classes_block, folds_block, refit_block, test_block
from foldpress.benchmark.agreement import agreement_block
from foldpress.benchmark.checks import Figures, verdict_of
from foldpress.benchmark.evidence import METRICS, SCHEMA, Evidence
from foldpress.benchmark.gate import judge
from foldpress.benchmark.latency_rows import latency_rows
from foldpress.benchmark.whole_set import metric_block
from foldpress.cost import GraphCost, graph_cost
from foldpress.errors import RequestError
from foldpress.files import sha256
from foldpress.graph import graph_files, load_graph

_BLOCKS = {"test": test_block, "folds": folds_block, "refit": refit_block}


def build_report(evidence: Evidence, limits: Mapping[str, float], confidence: float) -> dict[str, Any]:
    """The whole of report.json.

    Args:
        evidence: what was measured.
        limits: the gate's limits, by name.
        confidence: of every bound and interval.

    Raises:
        RequestError: a limit is unknown, negative or no number, or there is none; or the confidence is no such share.
    """
    if not 0.5 <= confidence < 1:
        raise RequestError(f"a confidence of {confidence} is not in [0.5, 1)", mend="0.95 is usual")
    facts = evidence.facts
    has_labels = bool(facts["has_labels"])
    blocks = _blocks(evidence, has_labels, confidence)
    blocks |= _metrics(evidence, confidence)
    judged = {name: {} if block is None and name in evidence.judged else block for name, block in blocks.items()}
    latency = latency_rows(evidence.latency, facts["baseline"], confidence) if evidence.latency else []
    agreement = agreement_block(facts.get("agreement"), confidence)
    figures = Figures(
        confidence=confidence,
        **judged,
        class_drops=class_drops(evidence.test, confidence) if evidence.test is not None and has_labels else None,
        artifact_bytes=facts["graphs"][facts["artifact"]]["bytes"],
        latency=[row for row in latency if row["graph"] == facts["artifact"]],
        agreement=agreement,
    )
    checks = judge(limits, figures)
    accuracy: dict[str, Any] = {"metric": facts["metric"], **blocks}
    accuracy |= {f"{name}_why": _absence(name, facts) for name, block in blocks.items() if block is None}
    accuracy |= _by_class(evidence, confidence)
    document: dict[str, Any] = _finite(
        {
            "schema": SCHEMA,
            "verdict": verdict_of(checks),
            "artifact": facts["artifact"],
            "task": facts["task"],
            "confidence": confidence,
            "checks": [asdict(check) for check in checks],
            "accuracy": accuracy,
            "graphs": facts["graphs"],
            **_changes(facts),
            "latency": latency,
            "digests": facts.get("digests", {}),
            "agreement": agreement,
            **({} if agreement else {"agreement_why": "the artifact was not compared with itself"}),
            "timing": facts["timing"],
            "environment": facts["environment"],
        }
    )
    return document


def _blocks(evidence: Evidence, has_labels: bool, confidence: float) -> dict[str, Any]:
    """The three estimands; None where there is no table, or an empty one."""
    tables = {name: getattr(evidence, name) for name in _BLOCKS}
    return {
        name: make(tables[name], has_labels, confidence) if tables[name] is not None and len(tables[name]) else None
        for name, make in _BLOCKS.items()
    }


def _metrics(evidence: Evidence, confidence: float) -> dict[str, Any]:
    """The metric of a whole set, where one is judged; None where its evidence is gone."""
    found = {name: getattr(evidence, name) for name in METRICS if name in evidence.judged}
    return {
        name: one and {"metric": evidence.facts["recipe"]["data"]["metric"], **metric_block(one, confidence)}
        for name, one in found.items()
    }


def _absence(name: str, facts: dict[str, Any]) -> str:
    """Why a block of `accuracy` is null."""
    if name in facts.get("judged", (name,)):
        return "not measured"
    return "[folds] refit was not asked for" if name == "refit" else "not asked for: there are no folds"


def _changes(facts: dict[str, Any]) -> dict[str, Any]:
    """What pruning and factorization did, or why nothing is known of it."""
    found: dict[str, Any] = {}
    for key, table in (("pruning", "prune"), ("factorization", "factorize")):
        found[key] = facts.get(key)
        if found[key] is None:
            found[f"{key}_why"] = "not measured" if table in facts.get("recipe", {}) else f"[{table}] was not asked for"
    return found


def _by_class(evidence: Evidence, confidence: float) -> dict[str, Any]:
    if not evidence.test or not evidence.facts["has_labels"]:  # a table without rows measured nothing
        return {"classes": None, "classes_why": "predictions are not classes" if evidence.test else "not measured"}
    return {"classes": classes_block(evidence.test, confidence)}


def _finite(document: Any) -> Any:
    """Figures that are no numbers become null: JSON has no NaN and no infinity."""
    if isinstance(document, dict):
        odd = [key for key, value in document.items() if isinstance(value, float) and not math.isfinite(value)]
        reasons = {f"{key}_why": "not a finite number" for key in odd}
        return {**reasons, **{key: _finite(value) for key, value in document.items()}}
    if isinstance(document, list | tuple):
        return [_finite(value) for value in document]
    return None if isinstance(document, float) and not math.isfinite(document) else document


def describe_graph(path: Path) -> dict[str, Any]:
    """The entry of one graph in report.json: bytes (external weights included), parameters, MACs, sparsity, digest."""
    return describe_cost(path, graph_cost(load_graph(path)))


def describe_cost(path: Path, cost: GraphCost) -> dict[str, Any]:
    """The same of a graph whose cost is known already."""
    size = sum(file.stat().st_size for file in graph_files(path))
    entry: dict[str, Any] = {"bytes": size, "parameters": cost.parameters, "macs": cost.macs, "sparsity": cost.sparsity}
    if cost.macs is None:
        entry["macs_why"] = cost.macs_why
    return entry | {"sha256": sha256(path)}
