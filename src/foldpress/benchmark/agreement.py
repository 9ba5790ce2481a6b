"""Does the artifact agree with itself? The same samples through the same graph, run in other ways.

Optimizations, threads, batch size and instruction set may each change how an int8 graph rounds. Where that changes
predictions, what was judged here is not what will run elsewhere, however good its calibration.
"""

import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from foldpress.benchmark.intervals import clopper_pearson_upper
from foldpress.benchmark.labels import counted, shares
from foldpress.benchmark.scoring import Task
from foldpress.data import Array, Dataset
from foldpress.errors import GraphError, ProviderError
from foldpress.graph import input_specs, load_graph
from foldpress.progress import track
from foldpress.runtime import open_session, predict

_MOST_SAMPLES = 600  # one by one, in each way of running; without any change they bound the share at 0.5 %
_LARGE_BATCH = 32
_NO_OVERRIDE = "onnxruntime picks the instruction set by the processor, and takes no other"


@dataclass(frozen=True)
class Setting:
    """One way of running a graph."""

    name: str
    batch: int
    options: Mapping[str, Any] = field(default_factory=dict)


def self_agreement(graph: Path, samples: Dataset, task: Task, provider: Mapping[str, Any]) -> dict[str, Any]:
    """How many predictions change, and how far outputs move, from one way of running to another.

    Args:
        graph: the artifact.
        samples: up to 600 are taken, evenly.
        task: says what a prediction is; without classes only the outputs are compared.
        provider: `provider` and `provider_options` of `open_session`.

    Returns:
        `n`, `reference`, `settings` (each with `changed`, of several positions a sample's share, null with its reason where
        the graph failed, and `largest_difference` as a share of the largest output), and `not_applicable` (setting → why).
    """
    rows = np.unique(np.linspace(0, len(samples) - 1, min(len(samples), _MOST_SAMPLES)).astype(int))
    chosen = samples.select(rows)
    fixed = input_specs(load_graph(graph))[0].shape[0]
    reference, settings, not_applicable = _settings(fixed)
    wanted = task.of(_outputs(graph, chosen, reference, provider))
    told = [
        {"setting": setting.name} | _compared(graph, chosen, setting, provider, task, wanted)
        for setting in track(settings, "comparing the artifact with itself", len(settings))
    ]
    return {"n": len(chosen), "reference": reference.name, "settings": told, "not_applicable": not_applicable}


def agreement_block(found: Mapping[str, Any] | None, confidence: float) -> dict[str, Any] | None:
    """The `agreement` of report.json: the worst setting's share of changed predictions, and the worst upper bound."""
    if not found or not found["settings"]:
        return None
    settings: list[dict[str, Any]] = [dict(one) for one in found["settings"]]
    for one in settings:
        known = one["changed"] is not None
        one["share"] = one["changed"] / found["n"] if known else None
        one["share_upper"] = clopper_pearson_upper(math.ceil(one["changed"]), found["n"], confidence) if known else None
        one |= {} if known else {"share_why": one["changed_why"], "share_upper_why": one["changed_why"]}
    return {**found, "settings": settings, **_worst(settings, "share"), **_worst(settings, "share_upper")}


def _worst(settings: Iterable[Mapping[str, Any]], key: str) -> dict[str, Any]:
    """The largest figure of all settings; null where one of them has none."""
    for one in settings:
        if one[key] is None:
            return {key: None, f"{key}_why": f"{one['setting']}: {one[f'{key}_why']}"}
    return {key: max(one[key] for one in settings)}


def _settings(fixed: int | None) -> tuple[Setting, list[Setting], dict[str, str]]:
    batch = fixed or 1
    reference = Setting(f"optimized, 1 thread, batch {batch}", batch, {"threads": 1})
    cores = max(2, os.cpu_count() or 2)
    settings = [
        Setting("optimizations off", batch, {"threads": 1, "optimize": False}),
        Setting(f"{cores} threads", batch, {"threads": cores}),
    ]
    not_applicable = {"another instruction set": _NO_OVERRIDE}
    if fixed is None:
        settings.append(Setting(f"batch {_LARGE_BATCH}", _LARGE_BATCH, {"threads": 1}))
    else:
        not_applicable["another batch size"] = f"the graph takes exactly {fixed} at once"
    return reference, settings, not_applicable


def _outputs(graph: Path, samples: Dataset, setting: Setting, provider: Mapping[str, Any]) -> list[Array]:
    return predict(open_session(graph, **provider, **setting.options), samples, setting.batch, setting.name)


def _compared(
    graph: Path, samples: Dataset, setting: Setting, provider: Mapping[str, Any], task: Task, wanted: list[Array]
) -> dict[str, Any]:
    try:
        found = task.of(_outputs(graph, samples, setting, provider))
    except (GraphError, ProviderError) as error:
        why = str(error).splitlines()[0]
        return {"changed": None, "changed_why": why, "largest_difference": None, "largest_difference_why": why}
    apart = max(_difference(one, other) for one, other in zip(wanted, found, strict=True))
    told: dict[str, Any] = {"largest_difference": apart}
    if not math.isfinite(apart):
        told = {"largest_difference": None, "largest_difference_why": "one of the two gives no finite number"}
    if not task.has_labels:
        return {"changed": None, "changed_why": "numbers do not flip"} | told
    changed = task.predict(wanted) != task.predict(found)
    return {"changed": float(shares(changed, counted(samples.y)).sum())} | told


def _difference(wanted: Array, found: Array) -> float:
    """The largest difference as a share of the largest value; what is no number on one side alone is infinitely far."""
    one, other = wanted.astype(np.float64), found.astype(np.float64)
    largest = float(np.nanmax(np.abs(one), initial=0.0)) or 1.0
    apart = np.where(np.isnan(one) & np.isnan(other) | (one == other), 0.0, np.abs(one - other))
    return float(np.nan_to_num(apart, nan=np.inf).max(initial=0.0)) / largest
