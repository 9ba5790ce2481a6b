"""Evidence: everything the gate needs, saved as it was measured, so that it can be judged again without running.

evidence/facts.json    what was judged: graphs, metric, limits, recipe, layers, digests, timing, environment, logs
evidence/test.npz      one row a sample of the test split: the shipped graph
evidence/flips.npz     pictures of test samples whose prediction changed; only where an input is an image
evidence/folds.npz     one row a sample and repeat: the graph made without the sample's fold
evidence/refit.npz     the same, where the recipe asks for it, with networks that were trained without the sample's fold
evidence/whole_set.npz a metric of the whole test split, and its drop in resamples; only where one is asked for
evidence/whole_set_folds.npz the same of the pooled folds, and of each fold
evidence/latency.json  every latency sample in milliseconds, by provider, batch and graph
"""

import json
import zipfile
import zlib
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foldpress.benchmark.whole_set import MetricDrop, load_metric
from foldpress.errors import RequestError
from foldpress.files import read_arrays, replacing, sha256, write_json

SCHEMA = 1
TABLES = ("test", "folds", "refit")
METRICS = ("whole_set", "whole_set_folds")
JUDGED = (*TABLES, *METRICS)
_UNREADABLE = (OSError, EOFError, ValueError, TypeError, KeyError, RuntimeError, zipfile.BadZipFile, zlib.error)
_UNTOLD: NDArray[Any] = np.empty(0)
# What the gate reads: a manifest that does not vouch for all of it vouches for nothing.
_JUDGED = ("evidence/facts.json", "evidence/latency.json")
_ONCE = ("test", "folds")  # what every run was judged on before manifests said so


@dataclass(frozen=True, eq=False)
class Paired:
    """One row for each scored sample; every array is [N], or [N, …] for predictions and targets of more axes.

    Scores are the per-sample terms whose mean is the metric (for accuracy: 1 right, 0 wrong); larger is better. Samples of
    one `group` may err together; unless told, each is a group of its own. `trained_on` is how many samples the scored
    networks were trained on, where that is known, else 0. `kl` and `difference` are how far the outputs are apart (see
    `divergence.py`), NaN where that was not measured.
    """

    sample: NDArray[Any]
    repeat: NDArray[Any]
    fold: NDArray[Any]
    target: NDArray[Any]
    baseline: NDArray[Any]
    artifact: NDArray[Any]
    baseline_score: NDArray[Any]
    artifact_score: NDArray[Any]
    group: NDArray[Any] = field(default_factory=lambda: _UNTOLD)
    trained_on: NDArray[Any] = field(default_factory=lambda: _UNTOLD)
    kl: NDArray[Any] = field(default_factory=lambda: _UNTOLD)
    difference: NDArray[Any] = field(default_factory=lambda: _UNTOLD)

    def __post_init__(self) -> None:
        if self.group is _UNTOLD:
            object.__setattr__(self, "group", self.sample)
        if self.trained_on is _UNTOLD:
            object.__setattr__(self, "trained_on", np.zeros(len(self.sample), np.int64))
        for name in ("kl", "difference"):
            if getattr(self, name) is _UNTOLD:
                object.__setattr__(self, name, np.full(len(self.sample), np.nan))

    def __len__(self) -> int:
        return len(self.sample)


@dataclass(frozen=True, eq=False)
class Pictures:
    """Some samples as pictures to look at; nothing is judged by them.

    `sample` [K] are rows of the data, as in `Paired`; `pixels` are uint8 [K, H, W] or [K, H, W, 3].
    """

    sample: NDArray[Any]
    pixels: NDArray[np.uint8]


@dataclass(frozen=True)
class LatencySamples:
    """All timed runs of one graph on one provider, batch size and thread count.

    `samples_ms[process][round]` is one block: consecutive runs, in milliseconds. Blocks of the same process and round
    belong to graphs that were interleaved, and pair up. `load_ms`, `first_ms` and `peak_rss_mb` come from a fresh
    process that held nothing but this graph. `again_ms`, of the reference alone, is its second session, timed among the
    others (the A/A test). `warm_up_runs` counts, for each process, the runs before latency had settled; they are not
    among the samples. `device_ms` are runs whose inputs and outputs stayed on the `device` (see
    `on_device.py`), timed among the others in blocks that pair up too; where there are none, `device_why` may say more.
    """

    provider: str
    batch: int
    threads: int
    graph: str
    samples_ms: list[list[list[float]]]
    placement: dict[str, float]
    load_ms: float | None
    first_ms: float | None
    peak_rss_mb: float | None
    again_ms: list[list[list[float]]] = field(default_factory=list)
    warm_up_runs: list[int] = field(default_factory=list)
    provider_options: dict[str, str] = field(default_factory=dict)
    device: str | None = None
    device_ms: list[list[list[float]]] = field(default_factory=list)
    device_why: str | None = None


@dataclass(frozen=True, eq=False)
class Evidence:
    """What a run, a `validate` or a `bench` measured. Everything but the facts may be absent.

    `facts` holds plain JSON values: artifact, baseline (file names), task, metric, classes, limits, confidence, recipe,
    graphs, layers, digests, timing, environment, log, and `judged`: the names of the tables that must be there.
    """

    facts: dict[str, Any]
    test: Paired | None = None
    folds: Paired | None = None
    latency: list[LatencySamples] = field(default_factory=list)
    pictures: Pictures | None = None
    refit: Paired | None = None
    whole_set: MetricDrop | None = None
    whole_set_folds: MetricDrop | None = None

    @property
    def judged(self) -> tuple[str, ...]:
        """What the gate has to see."""
        return tuple(name for name in JUDGED if name == "test" or name in self.facts.get("judged", ()))


def save_facts(facts: dict[str, Any], folder: Path) -> None:
    """Write evidence/facts.json."""
    write_json(folder / "facts.json", {"schema": SCHEMA, **facts})


def save_latency(measured: list[LatencySamples], folder: Path) -> None:
    """Write evidence/latency.json."""
    write_json(folder / "latency.json", [asdict(samples) for samples in measured])


def save_table(table: Paired, path: Path) -> None:
    """Write one per-sample table."""
    with replacing(path) as draft, draft.open("wb") as stream:
        np.savez_compressed(stream, **{column.name: getattr(table, column.name) for column in fields(Paired)})


def save_pictures(pictures: Pictures | None, path: Path) -> None:
    """Write the pictures; where there are none, those of an earlier run are removed."""
    if pictures is None:
        path.unlink(missing_ok=True)
        return
    with replacing(path) as draft, draft.open("wb") as stream:
        np.savez_compressed(stream, sample=pictures.sample, pixels=pictures.pixels)


def load_evidence(folder: Path) -> Evidence:
    """Read saved evidence.

    Raises:
        RequestError: missing, damaged, or of another schema.
    """
    try:
        facts = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
        latency = [
            LatencySamples(**entry) for entry in json.loads((folder / "latency.json").read_text(encoding="utf-8"))
        ]
        judged: dict[str, Any] = {name: _load_table(folder / f"{name}.npz") for name in TABLES}
        judged |= {name: load_metric(folder / f"{name}.npz") for name in METRICS}
        pictures = _load_pictures(folder / "flips.npz")
    except _UNREADABLE as error:
        raise RequestError(f"no readable evidence in {folder}: {error}", mend="foldpress run RECIPE -o DIR") from error
    if not isinstance(facts, dict) or facts.pop("schema", None) != SCHEMA:
        raise RequestError(
            f"the evidence in {folder} has another schema", mend="run the recipe again with this version"
        )
    return Evidence(facts, latency=latency, pictures=pictures, **judged)


def changed_files(folder: Path, manifest: dict[str, Any]) -> list[str]:
    """Files that are missing or are no longer what the manifest says, each with the reason."""
    listed = manifest.get("files", {})
    judged = [*_JUDGED, *(f"evidence/{name}.npz" for name in manifest.get("judged", _ONCE))]
    changed = [f"{name} is not in the manifest" for name in judged if name not in listed]
    for name, entry in listed.items():
        path = folder / name
        if not path.is_file():
            changed.append(f"{name} is missing")
        elif sha256(path) != entry.get("sha256"):
            changed.append(f"{name} was changed after the run")
    return changed


def _load_pictures(path: Path) -> Pictures | None:
    return Pictures(**read_arrays(path)) if path.is_file() else None


def _load_table(path: Path) -> Paired | None:
    if not path.is_file():
        return None
    arrays = read_arrays(path)
    table = Paired(**{column.name: arrays[column.name] for column in fields(Paired) if column.name in arrays})
    if len({len(getattr(table, column.name)) for column in fields(Paired)}) > 1:
        raise ValueError(f"the columns of {path.name} are of unequal length")
    return table
