"""Distillation of one student, from data to weights and a verified graph."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foldpress.data import Dataset
from foldpress.errors import RequestError
from foldpress.graph import save_graph
from foldpress.origin import parity_log
from foldpress.recipe import make_table
from foldpress.sources import read_data
from foldpress.stages.result import StageResult, output_file, stage_result
from foldpress.tables.train import BASELINE, DistillTable
from foldpress.training_inputs import (
    build_student,
    check_samples,
    distill_by,
    distilled_entry,
    loss_of,
    make_loss,
    make_pool,
    make_teachers,
)

if TYPE_CHECKING:
    from foldpress.training.record import Trained

_WEIGHTS = ".safetensors"


def distill(
    student: str,
    output: Path | str,
    *,
    teacher: str | Mapping[str, Any] | Sequence[Any],
    data: str,
    task: str = "classification",
    judged_output: int = 0,
    folder: Path | str = ".",
    checkpoint: Path | str | None = None,
    **options: Any,
) -> StageResult:
    """Train a student beside teachers; write its weights and, where `output` is an .onnx file, its verified graph too.

    Args:
        student: `module:callable` giving a torch.nn.Module.
        output: an .onnx file, beside which the weights go by the same name, or a .safetensors file alone.
        teacher: "self", `module:callable`, or an .onnx file; a table of `source`, `weights`, `weight` and `classes`; or several.
        data: labelled training samples, as `[data] source` names them.
        task: "classification" or "regression".
        judged_output: position, from 0, of the output that the targets belong to; of a teacher with one, that one is heard.
        folder: where modules and relative paths are found.
        checkpoint: a file that the state is kept in after every epoch; if it is there, training goes on from it.
        **options: as `[distill]` names them: weights, unlabelled, gamma, temperature, epochs, learning_rate …

    Raises:
        RequestError: student, teachers, data or options are wrong, or do not go together.
        DivergedError: the loss is no number any more.
        MissingExtraError: the training library is not installed.
    """
    from foldpress.training.checkpoints import Checkpoint

    start, folder, output = time.perf_counter(), Path(folder), _output(output)
    table = make_table(DistillTable, student=student, teacher=teacher, **options)
    if any(one.source == BASELINE for one in table.teacher):
        raise RequestError(
            "teacher = 'baseline' is a recipe's [model]", mend="name the teacher: module:callable, or a file"
        )
    loss = loss_of(table, task)
    labelled = read_data(data, folder)
    unlabelled = None if table.unlabelled is None else read_data(table.unlabelled, folder)
    network = build_student(table, folder)
    pool = make_pool(network, labelled, unlabelled)
    check_samples(network, pool.labelled, loss, judged_output)
    teachers = make_teachers(table.teacher, folder, network)
    kept = None
    if checkpoint is not None:  # else the samples need not be read for a fingerprint
        kept = Checkpoint(Path(checkpoint), _key(table, loss, judged_output, pool.labelled.fingerprint()))
    trained = distill_by(table, network, pool, teachers, make_loss(table, task), folder, output=judged_output,
                         checkpoint=kept)  # fmt: skip
    result = _written(output, trained, pool.labelled, start)
    if kept is not None:
        kept.remove()
    return result


def _written(output: Path, trained: "Trained", samples: Dataset, start: float) -> StageResult:
    from foldpress.exporter.export import export_model
    from foldpress.exporter.weights import save_weights

    log, weights = [distilled_entry(trained).as_json()], output.with_suffix(_WEIGHTS)
    exported = export_model(trained.module, samples) if output != weights else None  # before anything is written
    save_weights(trained.module, weights)
    if exported is not None:
        save_graph(exported.graph, output)
        return stage_result(output, start, [*log, *parity_log(exported.parity.as_json())])
    parameters = sum(one.numel() for one in trained.module.parameters())
    return StageResult(output, weights.stat().st_size, None, parameters, time.perf_counter() - start, log)


def _output(output: Path | str) -> Path:
    path = output_file(output)
    if path.suffix not in (".onnx", _WEIGHTS):
        raise RequestError(
            f"{path} is neither an .onnx nor a {_WEIGHTS} file", mend="-o student.onnx, or -o student.safetensors"
        )
    return path


def _key(table: DistillTable, *others: object) -> str:
    """What a checkpoint belongs to."""
    return " ".join(map(str, (table.model_dump_json(), *others)))
