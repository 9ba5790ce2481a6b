"""Evidence: saved as it was measured, read back the same, and refused when it is not what was saved."""

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foldpress.benchmark.evidence import (
    Evidence,
    LatencySamples,
    Paired,
    changed_files,
    load_evidence,
    save_facts,
    save_latency,
    save_pictures,
    save_table,
)
from foldpress.errors import RequestError
from foldpress.rundir import read_manifest, write_manifest

pytest_plugins = ["report_fixture"]


@pytest.fixture
def run(evidence: Evidence, tmp_path: Path) -> Path:
    """A run's folder with saved evidence and a manifest."""
    folder = tmp_path / "evidence"
    save_facts(evidence.facts, folder)
    save_latency(evidence.latency, folder)
    for name in ("test", "folds"):
        save_table(getattr(evidence, name), folder / f"{name}.npz")
    save_pictures(evidence.pictures, folder / "flips.npz")
    write_manifest(tmp_path, {"schema": 1})
    return tmp_path


def same(one: Paired | None, other: Paired | None) -> bool:
    return all(
        np.array_equal(getattr(one, column.name), getattr(other, column.name))
        and getattr(one, column.name).dtype == getattr(other, column.name).dtype
        for column in fields(Paired)
    )


def test_round_trip(run: Path, evidence: Evidence) -> None:
    """Catches a figure that is rounded, renamed or lost on the way to the disk."""
    loaded = load_evidence(run / "evidence")
    assert loaded.facts == json.loads(json.dumps(evidence.facts))
    assert loaded.latency == evidence.latency
    assert same(loaded.test, evidence.test)
    assert same(loaded.folds, evidence.folds)
    assert isinstance(loaded.latency[0], LatencySamples)
    assert loaded.pictures is not None
    assert evidence.pictures is not None
    assert np.array_equal(loaded.pictures.sample, evidence.pictures.sample)
    assert np.array_equal(loaded.pictures.pixels, evidence.pictures.pixels)


def test_a_part_that_was_not_measured_is_none(run: Path) -> None:
    """Catches an absent table read as an empty one, whose drop would be 0."""
    (run / "evidence/folds.npz").unlink()
    assert load_evidence(run / "evidence").folds is None


def test_pictures_of_an_earlier_run_do_not_stay(run: Path) -> None:
    """Catches samples shown as flipped that another graph flipped."""
    save_pictures(None, run / "evidence/flips.npz")
    assert load_evidence(run / "evidence").pictures is None
    save_pictures(None, run / "evidence/flips.npz")  # where there are none, nothing is to be removed


@pytest.mark.parametrize("name", ["facts.json", "latency.json", "test.npz", "folds.npz", "flips.npz"])
@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"null", b"PK\x03\x04", b"\x93NUMPY\x01\x00"])
def test_damaged_evidence_is_refused(run: Path, name: str, content: bytes) -> None:
    """Catches a traceback, or a judgement of what is left, where a file was cut short or replaced."""
    (run / "evidence" / name).write_bytes(content)
    with pytest.raises(RequestError, match="evidence"):
        load_evidence(run / "evidence")


def test_damaged_table_is_refused_wherever_it_is_damaged(run: Path) -> None:
    """Catches an error of zip or zlib that nobody expected."""
    path = run / "evidence/test.npz"
    whole = path.read_bytes()
    for position in range(0, len(whole), 97):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0xFF]) + whole[position + 1 :])
        try:
            load_evidence(run / "evidence")
        except RequestError:
            continue
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(RequestError):
        load_evidence(run / "evidence")


def test_nothing_is_unpickled(run: Path) -> None:
    """Catches np.load with allow_pickle, which runs a stranger's code."""
    objects = {column.name: np.array([object()], object) for column in fields(Paired)}
    np.savez(run / "evidence/test.npz", **objects)  # type: ignore[arg-type]
    with pytest.raises(RequestError, match=r"allow_pickle|Object arrays"):
        load_evidence(run / "evidence")


def test_another_schema_is_refused(run: Path) -> None:
    """Catches evidence of another version read by this one's rules."""
    (run / "evidence/facts.json").write_text('{"schema": 999}')
    with pytest.raises(RequestError, match="schema"):
        load_evidence(run / "evidence")


def test_every_change_after_the_run_is_named(run: Path) -> None:
    """Catches evidence that was edited or removed, and is judged all the same."""
    manifest = read_manifest(run)
    assert manifest is not None
    assert changed_files(run, manifest) == []
    (run / "evidence/test.npz").unlink()
    (run / "evidence/facts.json").write_text("{}")
    assert changed_files(run, manifest) == [
        "evidence/facts.json was changed after the run",
        "evidence/test.npz is missing",
    ]


def test_a_manifest_that_lists_nothing_proves_nothing(run: Path) -> None:
    """Catches an emptied manifest, by which every file would be unchanged."""
    manifests: list[dict[str, Any]] = [{}, {"files": {}}, {"files": {"evidence/facts.json": {}}}]
    for manifest in manifests:
        assert changed_files(run, manifest)
