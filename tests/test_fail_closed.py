"""Whatever is missing, wrong, stale or broken: the command line never exits with 0.

One finished run that passes is damaged in one way for each row; where digests would give the damage away, there is a second
row in which the manifest was written again, so that only what the evidence says can.
"""

import shutil
import signal
import subprocess
import zipfile
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from typer.testing import CliRunner

from conftest import Invoke
from finished import Run
from foldpress.benchmark.evidence import Paired
from foldpress.cli import app

NAN = float("nan")


def _save(path: Path, **arrays: Any) -> None:
    np.savez(path, **arrays)


def _without(name: str) -> Callable[[Run], list[object]]:
    def damage(run: Run) -> list[object]:
        (run.out / name).unlink()
        return run.gate()

    return damage


def _resealed(change: Callable[[Run], object], *options: object) -> Callable[[Run], list[object]]:
    def damage(run: Run) -> list[object]:
        change(run)
        return run.sealed(*options)

    return damage


def _appended(name: str) -> Callable[[Run], list[object]]:
    def damage(run: Run) -> list[object]:
        with (run.out / name).open("ab") as stream:
            stream.write(b" ")
        return run.gate()

    return damage


def _latency_of_another_provider(run: Run) -> None:
    """As if onnxruntime had run a fifth of the nodes elsewhere."""

    def fall_back(entries: list[dict[str, Any]]) -> None:
        for entry in entries:
            entry["provider"], entry["placement"] = "CUDAExecutionProvider", {"CUDAExecutionProvider": 0.8}

    run.json("evidence/latency.json", fall_back)


def _graph(run: Run, name: str, change: Callable[[Any], Any]) -> Path:
    """A copy of the classifier with its last weights changed."""
    proto = onnx.load(run.folder / "net.onnx")
    weights = next(one for one in proto.graph.initializer if one.name == "V")
    weights.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(weights)).astype(np.float32), "V"))
    onnx.save(proto, run.folder / name)
    return run.folder / name


def _validate(run: Run, artifact: Path, *options: object) -> list[object]:
    return [
        "validate",
        run.folder / "net.onnx",
        artifact,
        "-d",
        run.folder / "data.npz",
        "--max-drop",
        "0.05",
        *options,
    ]


def _copies(run: Run) -> list[object]:
    """Thirty samples, each forty times: as many as there are, and no proof of anything."""
    copies = {name: np.concatenate([array[:30]] * 40) for name, array in run.arrays.items()}
    _save(run.folder / "data.npz", **copies)
    return _validate(run, run.folder / "net.onnx")


def _few(run: Run) -> list[object]:
    """Nothing changes on fifty samples, and it is no proof."""
    _save(run.folder / "data.npz", **{name: array[:50] for name, array in run.arrays.items()})
    return _validate(run, run.folder / "net.onnx")


def _nan_graph(run: Run) -> list[object]:
    return _validate(run, _graph(run, "nan.onnx", lambda v: v * NAN))


def _nan_regression(run: Run) -> list[object]:
    np.savez(run.folder / "data.npz", x=run.arrays["x"], y=np.eye(10)[run.arrays["y"]])
    return _validate(run, _graph(run, "nan.onnx", lambda v: v * NAN), "--task", "regression")


def _killed(*_: Any, **__: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.CompletedProcess([], -signal.SIGKILL, "", "")


def _too_slow(*_: Any, **__: Any) -> NoReturn:
    raise subprocess.TimeoutExpired("worker", 600)


def _interrupted_again(run: Run) -> list[object]:
    """A finished run, run again and interrupted: what it left before is stale."""
    assert CliRunner().invoke(app, [str(part) for part in run.metric("interrupted")]).exit_code == 130
    return run.gate()


def _leaked(run: Run) -> list[object]:
    _save(run.folder / "seen.npz", **{name: array[:3] for name, array in run.arrays.items()})
    return run.again(data={"train": "seen.npz"})


def _twice(run: Run) -> list[object]:
    return run.data(**{name: np.concatenate([array, array[:20]]) for name, array in run.arrays.items()})


def _swapped_graph(run: Run) -> None:
    shutil.copy(run.out / "exported.onnx", run.out / "quantized.onnx")


def _cut_table(run: Run) -> None:
    path = run.out / "evidence/test.npz"
    path.write_bytes(path.read_bytes()[:200])


def _one_column_less(run: Run) -> None:
    path = run.out / "evidence/test.npz"
    with zipfile.ZipFile(path) as archive:
        kept = {name: archive.read(name) for name in archive.namelist() if name != "artifact_score.npy"}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in kept.items():
            archive.writestr(name, content)


def _no_rows(run: Run) -> None:
    run.table("test", **{column.name: lambda old: old[:0] for column in fields(Paired)})


ROWS: list[tuple[str, Callable[[Run], list[object]], int]] = [
    ("test evidence missing", _without("evidence/test.npz"), 3),
    ("test evidence missing, resealed", _resealed(lambda r: (r.out / "evidence/test.npz").unlink()), 3),
    ("folds' evidence missing, resealed", _resealed(lambda r: (r.out / "evidence/folds.npz").unlink()), 3),
    ("facts missing", _without("evidence/facts.json"), 3),
    ("latency skipped, resealed", _resealed(lambda r: (r.out / "evidence/latency.json").write_text("[]")), 3),
    ("no such evidence", lambda r: ["gate", r.folder], 2),
    ("manifest missing", _without("manifest.json"), 3),
    ("manifest damaged", lambda r: [*r.gate(), *[(r.out / "manifest.json").write_text("{"), "-q"][1:]], 2),
    ("manifest lists nothing", lambda r: [*r.gate(), *[(r.out / "manifest.json").write_text("{}"), "-q"][1:]], 3),
    ("digest mismatch: evidence", _appended("evidence/facts.json"), 3),
    ("digest mismatch: artifact", _appended("quantized.onnx"), 3),
    ("digest mismatch: report", _appended("report.json"), 3),
    ("artifact missing", _without("quantized.onnx"), 3),
    ("stale: evidence of another artifact, resealed", _resealed(_swapped_graph), 3),
    ("stale: evidence of other data, resealed",
     _resealed(lambda r: r.facts(lambda facts: facts["digests"].update(data="0" * 64))), 3),
    ("stale: run again and interrupted", _interrupted_again, 3),
    ("NaN score, resealed", _resealed(lambda r: r.table("test", artifact_score=lambda old: old * NAN)), 3),
    ("one NaN score, resealed",
     _resealed(lambda r: r.table("folds", artifact_score=lambda old: np.where(np.arange(len(old)) == 3, NAN, old))), 3),
    ("infinite score, resealed", _resealed(lambda r: r.table("test", baseline_score=lambda old: np.full_like(old, -np.inf))), 3),
    ("no rows, resealed", _resealed(_no_rows), 3),
    ("table cut short, resealed", _resealed(_cut_table), 2),
    ("column missing, resealed", _resealed(_one_column_less), 2),
    ("columns of unequal length, resealed", _resealed(lambda r: r.table("test", target=lambda old: old[:-1])), 2),
    ("unknown schema, resealed", _resealed(lambda r: r.facts(lambda facts: facts.update(schema=999))), 2),
    ("no limit, resealed", _resealed(lambda r: r.facts(lambda facts: facts.update(limits={}))), 2),
    ("unknown limit, resealed", _resealed(lambda r: r.facts(lambda facts: facts.update(limits={"max_dorp": 1}))), 2),
    ("no limit in the recipe", lambda r: r.again(gate={"max_drop": None}), 2),
    ("negative limit", lambda r: r.gate("--max-drop", "-0.1"), 2),
    ("NaN limit", lambda r: r.gate("--max-drop", "nan"), 2),
    ("infinite limit", lambda r: r.gate("--max-flips", "inf"), 2),
    ("confidence of a coin", lambda r: r.gate("--confidence", "0.2"), 2),
    ("confidence NaN, resealed", _resealed(lambda r: r.facts(lambda facts: facts.update(confidence=NAN))), 2),
    ("fallback to another provider, resealed", _resealed(_latency_of_another_provider), 3),
    ("provider absent", lambda r: r.again(benchmark={"providers": ["CUDAExecutionProvider"]}), 2),
    ("too few samples", _few, 3),
    ("copies of a few samples", _copies, 3),
    ("samples leaked from training", _leaked, 2),
    ("samples in a fold and in the test split", _twice, 2),
    ("child killed", lambda r: r.timing(_killed), 4),
    ("timeout", lambda r: r.timing(_too_slow), 4),
    ("metric raises", lambda r: r.metric("raising"), 2),
    ("metric gives NaN", lambda r: r.metric("giving_nan"), 2),
    ("metric gives one number", lambda r: r.metric("giving_one_number"), 2),
    ("interrupted", lambda r: r.metric("interrupted"), 130),
    ("artifact gives NaN", _nan_graph, 1),
    ("artifact of a regression gives NaN", _nan_regression, 3),
    ("artifact destroyed", lambda r: _validate(r, _graph(r, "wrong.onnx", np.negative)), 1),
    ("data with NaN", lambda r: r.data(x=r.arrays["x"] * NAN), 2),
]  # fmt: skip


def test_undamaged_it_passes(run: Run, invoke: Invoke) -> None:
    """Catches a matrix in which everything is refused, whatever the damage; writing a manifest again does none."""
    assert invoke(*run.gate()).exit_code == 0
    assert invoke(*run.sealed()).exit_code == 0
    assert invoke(*_validate(run, run.folder / "net.onnx")).exit_code == 0


@pytest.mark.parametrize(("damage", "code"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_never_exits_with_0(damage: Callable[[Run], list[object]], code: int, run: Run, invoke: Invoke) -> None:
    """Catches anything that is missing, wrong, stale or broken and lets a release through, or says so by the wrong code."""
    result = invoke(*damage(run), "-q")
    assert result.exit_code == code, result.output
    assert result.exit_code != 0
