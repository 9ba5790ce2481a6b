"""From a graph's file to a smaller graph's file, by samples of real data."""

import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx_ir as ir

from foldpress.benchmark.plan import LatencyPlan
from foldpress.benchmark.scoring import make_task
from foldpress.calibration import Drawn
from foldpress.data import Dataset, Indices, fit_inputs
from foldpress.drop_budget import Loss, loss_of
from foldpress.graph import input_specs, load_graph, save_graph
from foldpress.optimizer.cleanup import clean_up
from foldpress.optimizer.codebook_file import CodebookFile
from foldpress.optimizer.lean import lean
from foldpress.optimizer.passes import LogEntry, apply
from foldpress.optimizer.press import Press
from foldpress.optimizer.static_int8 import refuse_quantized
from foldpress.pruned_time import change_blocks, time_log
from foldpress.settling import settle, settled
from foldpress.sources import read_data
from foldpress.stages.result import StageResult, output_file, stage_result


def press_file(
    make: Callable[[ir.Model, Dataset, Indices], Press],
    graph: Path | str,
    output: Path | str,
    data: str,
    draw: Callable[[Dataset], Drawn],
    keep_metadata: bool,
    task: str = "classification",
) -> StageResult:
    """Press a file.

    Args:
        make: gives the press, from a cleaned graph, the samples to learn from and their fold numbers.
        graph: a float .onnx file.
        output: the .onnx file to write.
        data: real samples, as `[data] source` names them.
        draw: says which of them to learn from.
        keep_metadata: leave shapes, notes and long names in the file.
        task: what a largest drop is measured by.

    Raises:
        RequestError: graph, data or options are wrong, or the graph holds integers already.
    """
    start, output = time.perf_counter(), output_file(output)
    model = load_graph(Path(graph))
    refuse_quantized(model)
    dataset = fit_inputs(read_data(data, Path()), input_specs(model))
    cleaned = apply(clean_up(), model)
    drawn = draw(dataset)
    asked = make(cleaned.model, dataset.select(drawn.rows), drawn.numbers)
    found = settle(asked, dataset, LatencyPlan(), _loss(task, dataset))
    press = settled(asked, found)
    pressed = press.ship()
    last = lean(keep_metadata=keep_metadata)
    codebooks = [CodebookFile()] if pressed.last is pressed.shared is not None else []
    written = apply([*codebooks, *last], pressed.last or cleaned.model)
    blocks = change_blocks(asked.prune, asked.factorize, press, pressed, dataset, LatencyPlan())
    save_graph(written.model, output)
    before = (*cleaned.log, *(drawn.log if asked.learns else ()))
    after = (*pressed.log, *time_log(blocks), *written.log)
    result = stage_result(output, start, [*_as_json(before), *found["log"], *_as_json(after)])
    return replace(result, pruning=blocks["pruning"], factorization=blocks["factorization"])


def _as_json(log: Iterable[LogEntry]) -> list[dict[str, str]]:
    return [entry.as_json() for entry in log]


def _loss(task: str, dataset: Dataset) -> Loss:
    """What a largest drop is measured by: without targets, agreement with what the unpruned network predicts."""
    if dataset.targets is None and task != "classification":
        return loss_of(make_task(task, Path(), dataset.y))  # which says that there are none
    return loss_of(make_task(task, Path(), np.empty(0) if dataset.targets is None else dataset.y))
