"""Each stage as one function on files, of the same name as its command."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx_ir as ir

from foldpress.benchmark.accuracy import pair
from foldpress.benchmark.evidence import Evidence
from foldpress.benchmark.plan import LatencyPlan
from foldpress.benchmark.report import build_report, describe_cost, describe_graph
from foldpress.benchmark.scoring import check_baseline, check_targets, make_task
from foldpress.calibration import Drawn, draw
from foldpress.cost import graph_cost, layer_entries
from foldpress.data import Dataset, Indices, fit_inputs
from foldpress.drop_budget import Loss, loss_of
from foldpress.errors import RequestError
from foldpress.files import writable_folder
from foldpress.graph import batch_size, input_specs, load_graph, save_graph
from foldpress.identity import identify
from foldpress.kernels import kernels_entry
from foldpress.machine import environment
from foldpress.optimizer.cleanup import clean_up
from foldpress.optimizer.collection import Collection
from foldpress.optimizer.lean import lean
from foldpress.optimizer.passes import apply
from foldpress.optimizer.press import Press
from foldpress.optimizer.prune import Prune
from foldpress.optimizer.ranges import choose_method
from foldpress.optimizer.reuse import taken_or_collected
from foldpress.optimizer.static_int8 import refuse_quantized
from foldpress.optimizer.targets import choose_target
from foldpress.origin import open_origin, parity_log
from foldpress.precision import choose_precision
from foldpress.pruned_time import pruning_block, time_log
from foldpress.runtime import open_session, predict
from foldpress.settling import settle, settled
from foldpress.sources import read_data
from foldpress.weight_passes import choose_weights


@dataclass(frozen=True)
class StageResult:
    """What `export`, `prune` and `quantize` give: the file, what it costs, and the log of what was done to it."""

    output: Path
    bytes: int
    macs: int | None
    parameters: int
    seconds: float
    log: list[dict[str, str]] = field(default_factory=list)
    pruning: dict[str, Any] | None = None  # as in report.json, of `prune` alone

    def as_json(self) -> dict[str, Any]:
        """The result as `--json` prints it."""
        facts = {name: value for name, value in self.__dict__.items() if name != "pruning" or value is not None}
        return {**facts, "output": str(self.output)}


def export(
    source: str, output: Path | str, *, data: str, weights: str | None = None, folder: Path | str = "."
) -> StageResult:
    """Export `module:callable` to a verified ONNX file.

    Args:
        source: `module:callable` giving a torch.nn.Module, or an .onnx file, which is copied after a check.
        output: the .onnx file to write.
        data: real samples, as `[data] source` names them.
        weights: .safetensors, .pt or .pth.
        folder: where modules and relative paths are found.

    Raises:
        RequestError: source, weights or data are wrong.
        ParityError: the graph does not compute what PyTorch computes.
    """
    start, folder = time.perf_counter(), Path(folder)
    output = _output(output)
    origin = open_origin(source, weights, folder, read_data(data, folder))
    parity = origin.export(output, origin.dataset)
    return _result(output, start, parity_log(parity))


def prune(
    graph: Path | str,
    output: Path | str,
    *,
    data: str,
    method: Literal["structured", "unstructured", "2:4"] = "structured",
    macs: float | None = None,
    parameters: float | None = None,
    bytes: float | None = None,  # noqa: A002  # the recipe's own word
    latency: float | None = None,
    max_drop: float | None = None,
    protect: Sequence[str] = (),
    score: Literal["obs", "activation", "magnitude", "l1"] = "obs",
    sparsity: float | None = None,
    threshold: float | None = None,
    task: str = "classification",
    samples: int = 512,
    seed: int = 0,
    keep_metadata: bool = False,
) -> StageResult:
    """Prune a graph to a budget, repaired on samples of `data`; targets are not needed.

    `score` is what decides which channels of a layer go first: the error that is left after repair (obs), the energy of what
    the layers behind it get from a channel (activation), or the L2 or L1 norm of the weights that make it (magnitude, l1).

    `latency` is a share of the time of the float32 graph, at batch 1 on one thread of this machine. `max_drop` is what samples
    lose that pruning has not seen; for classification without targets, the share of predictions that change.

    The file is lean, unless `keep_metadata`: no shapes, notes and long names inside the graph.

    Raises:
        RequestError: graph or data are wrong, or the budget cannot be met.
    """
    from foldpress.recipe import make_prune_table

    table = make_prune_table(
        method=method, macs=macs, parameters=parameters, bytes=bytes, latency=latency, max_drop=max_drop,
        protect=tuple(protect) or None, score=None if score == "obs" else score, sparsity=sparsity, threshold=threshold,
    )  # fmt: skip
    asked = Prune(table.method, **table.model_dump(exclude={"method"}))
    press = partial(Press, prune=asked, target=None)
    return _press(press, graph, output, data, partial(draw, samples=samples, seed=seed), keep_metadata, task)


def quantize(
    graph: Path | str,
    output: Path | str,
    *,
    data: str,
    target: str = "auto",
    precision: str = "auto",
    bits: int | None = None,
    calibration: str = "auto",
    keep_float: Sequence[str] = (),
    float_macs: float = 0.0,
    weight_passes: str | Sequence[str] = "auto",
    samples: int | None = None,
    seed: int | None = None,
    statistics: Path | str | None = None,
    keep_metadata: bool = False,
) -> StageResult:
    """Quantize, by default to the int8 that is fastest here, calibrated on samples of `data`; targets are not needed.

    Args:
        graph: a float .onnx file.
        output: the .onnx file to write.
        data: real samples, as `[data] source` names them. Where nothing is calibrated they only have to fit.
        target: the hardware, as `[quantize] target` names it.
        precision: "auto" (the fastest here, and none slower than float32), "static", "dynamic", "weight-int8",
            "weight-int4", "weights" or "float16".
        bits: 1 to 8, with "weights" alone.
        calibration: how "static" chooses ranges.
        keep_float: names of nodes, or types of operators, that "static" leaves float.
        float_macs: share of the MACs that may stay float too, where rounding costs the outputs most.
        weight_passes: passes over weights before "static", by name; "auto" or "none".
        samples: how many to calibrate on; 512, or those of `statistics`.
        seed: of their draw; 0.
        statistics: an .npz file of what "static" learns, by an earlier call, `collect_statistics` or a run. Where there is
            no such file yet, it is written.
        keep_metadata: leave shapes, notes and long names in the file, which is lean otherwise.

    Raises:
        RequestError: graph, data or options are wrong, the graph holds integers already, or the statistics were collected
            from another graph, other samples or with other options.
    """
    file = None if statistics is None else Path(statistics)
    press = partial(
        Press,
        prune=None,
        target=choose_target(target),
        ranges=choose_method(calibration),
        precision=choose_precision(
            precision, bits, calibration, keep_float, float_macs, statistics=statistics is not None
        ),
        keep_float=keep_float,
        float_macs=_share(float_macs),
        weights=choose_weights(weight_passes, precision),
        statistics=Collection.collect if file is None else partial(taken_or_collected, file),
    )
    return _press(press, graph, output, data, partial(draw, samples=samples, seed=seed, statistics=file), keep_metadata)


def validate(
    baseline: Path | str,
    artifact: Path | str,
    *,
    data: str,
    limits: Mapping[str, float],
    confidence: float = 0.95,
    task: str = "classification",
    folder: Path | str = ".",
) -> dict[str, Any]:
    """Paired non-inferiority of two graphs, whoever made them: {"verdict", "checks", "accuracy"}.

    Raises:
        RequestError: graphs, data or limits are wrong.
    """
    folder = Path(folder)
    dataset = read_data(data, folder)
    scorer = make_task(task, folder, dataset.y)
    graphs = {"baseline": Path(baseline), "artifact": Path(artifact)}
    outputs = []
    for name, path in graphs.items():
        graph = load_graph(path)
        fitted = fit_inputs(dataset, input_specs(graph))
        outputs.append(predict(open_session(path), fitted, batch_size(graph), f"scoring the {name}"))
        check_targets(fitted, scorer, outputs[-1])
    check_baseline(dataset, outputs[0])
    facts = {
        "artifact": "artifact", "baseline": "baseline", "task": scorer.name, "metric": scorer.metric,
        "has_labels": scorer.has_labels, "graphs": {name: describe_graph(path) for name, path in graphs.items()},
        "timing": {}, "environment": environment(),
    }  # fmt: skip
    table = pair(scorer, dataset, outputs[0], outputs[1], identity=identify(dataset, grouped=True))
    report = build_report(Evidence(facts, table), limits, confidence)
    return {key: report[key] for key in ("verdict", "checks", "accuracy", "graphs", "confidence")}


def inspect(graph: Path | str) -> dict[str, Any]:
    """Operators, parameters, MACs, bytes and sparsity of a graph, by layer and in all, and which kernels run on this CPU.

    Raises:
        GraphError: no such graph, or a damaged one.
    """
    path = Path(graph)
    cost = graph_cost(load_graph(path))
    found = describe_cost(path, cost) | {"operators": cost.operators, "layers": layer_entries(cost)}
    return found | kernels_entry(path)


def _press(
    make: Callable[[ir.Model, Dataset, Indices], Press],
    graph: Path | str,
    output: Path | str,
    data: str,
    draw: Callable[[Dataset], Drawn],
    keep_metadata: bool,
    task: str = "classification",
) -> StageResult:
    start = time.perf_counter()
    output = _output(output)
    model = load_graph(Path(graph))
    refuse_quantized(model)
    dataset = fit_inputs(read_data(data, Path()), input_specs(model))
    cleaned = apply(clean_up(), model)
    drawn = draw(dataset)
    press = make(cleaned.model, dataset.select(drawn.rows), drawn.numbers)
    calibrated = drawn.log if press.learns else ()
    asked = press.prune
    found = settle(press, dataset, LatencyPlan(), _loss(task, dataset))
    press = settled(press, found)
    pressed = press.ship()
    written = apply(lean(keep_metadata=keep_metadata), pressed.quantized or pressed.pruned or cleaned.model)
    pruning = pruning_block(asked, press, pressed, dataset, LatencyPlan())
    save_graph(written.model, output)
    logs = (*cleaned.log, *calibrated), (*pressed.log, *time_log(pruning), *written.log)
    before, after = ([entry.as_json() for entry in log] for log in logs)
    return replace(_result(output, start, [*before, *found["log"], *after]), pruning=pruning)


def _loss(task: str, dataset: Dataset) -> Loss:
    """What a largest drop is measured by: without targets, agreement with what the unpruned network predicts."""
    if dataset.targets is None and task != "classification":
        return loss_of(make_task(task, Path(), dataset.y))  # which says that there are none
    return loss_of(make_task(task, Path(), np.empty(0) if dataset.targets is None else dataset.y))


def _share(float_macs: float) -> float:
    if not 0 <= float_macs < 1:
        raise RequestError(f"float_macs = {float_macs} is no share of the MACs", available="0 to less than 1")
    return float_macs


def _result(output: Path, start: float, log: list[dict[str, str]]) -> StageResult:
    entry = describe_graph(output)
    return StageResult(output, entry["bytes"], entry["macs"], entry["parameters"], time.perf_counter() - start, log)


def _output(output: Path | str) -> Path:
    """The file to write, its folder proven writable before any work is done."""
    path = Path(output)
    if path.is_dir():
        raise RequestError(f"{path} is a folder; name the .onnx file to write")
    writable_folder(path.parent)
    return path
