"""Which precision ships where the recipe leaves it open: the fastest that was measured here, and none slower than float32.

Static int8 is the fastest for convolutions, dynamic int8 for recurrent and attention layers. In a network so small that
rounding costs more than it saves, float32 is, and then only the file becomes smaller: its weights are stored in 8 bits.
Which of them it is depends on the machine, so the graphs themselves are timed, in interleaved blocks.
"""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnx_ir as ir

from foldpress.benchmark.latency import measure
from foldpress.benchmark.latency_rows import latency_rows
from foldpress.benchmark.plan import LatencyPlan
from foldpress.data import Dataset
from foldpress.errors import GraphError, RequestError
from foldpress.graph import save_graph
from foldpress.optimizer.lean import lean
from foldpress.optimizer.passes import LogEntry, apply
from foldpress.optimizer.press import Press
from foldpress.optimizer.targets import Target, choose_target
from foldpress.precision import Precision
from foldpress.providers import CPU

_CANDIDATES = (Precision("static"), Precision("dynamic"))
_STORED = Precision("weights", 8)
_TIE = 0.97  # of the other's speed: a difference that chance makes on a busy machine, and must not decide
_PROCESSES, _SECONDS = 5, 1.5  # enough to tell graphs apart that differ by more than a few percent
_CONFIDENCE = 0.95
_FLOAT32 = "float32"


@dataclass(frozen=True)
class Choice:
    """A precision, or None where float32 stays as it is, and the log of how it came about."""

    precision: Precision | None
    log: tuple[LogEntry, ...]


def choose(press: Press, samples: Dataset, plan: LatencyPlan) -> Choice:
    """The precision of what ships: what was asked for or, where that is "auto", what is fastest.

    Args:
        press: what quantizes. Speed is measured only where its target is this machine.
        samples: real inputs to time on.
        plan: where to time; for how long is decided here.
    """
    if press.target is None or press.precision.name != "auto":
        return Choice(press.precision if press.target else None, ())
    plan = replace(plan, processes=_PROCESSES, seconds=_SECONDS, half_width=None)
    if why := _cannot_measure(press.target, plan.provider):
        entry = LogEntry("precision", "static", "done", f"{why}, so speed was not measured")
        return Choice(Precision("static"), (entry,))
    press.collect()
    graphs, log = _candidates(press)
    rows = _timed(press.float_graph(), graphs, samples, plan)
    faster = {name: row["speedup"] for name, row in rows.items() if row["speedup_low"] > 1}
    chosen = next((name for name in faster if faster[name] >= _TIE * max(faster.values())), None)
    log += [_entry(name, row, chosen) for name, row in rows.items()]
    if chosen is not None:
        return Choice(next(one for one in _CANDIDATES if one.name == chosen), tuple(log))
    return _stored(press, samples, plan, log)


def _cannot_measure(target: Target, provider: str) -> str | None:
    if provider != CPU:
        return f"kernels are compared on {CPU} only"
    return elsewhere(target, provider)


def elsewhere(target: Target | None, provider: str) -> str | None:
    """Why this machine cannot tell how fast a graph is, or None where it can."""
    if target is None:
        return None
    here = choose_target("auto", provider)
    return None if here == target else f"target {target.name} is not this machine, which is {here.name}"


def _candidates(press: Press) -> tuple[dict[str, ir.Model], list[LogEntry]]:
    """The graph of every precision that has something to do here."""
    graphs, log = {}, []
    for precision in _CANDIDATES[:1] if press.leaves_float else _CANDIDATES:
        try:
            made = press.at(precision).ship().quantized
        except GraphError:  # what is wrong with the network itself is wrong at every precision
            raise
        except RequestError as error:
            log.append(LogEntry("precision", precision.name, "declined", str(error).splitlines()[0]))
            continue
        assert made is not None  # noqa: S101  # each candidate quantizes
        graphs[str(precision.name)] = made
    return graphs, log


def _stored(press: Press, samples: Dataset, plan: LatencyPlan, log: list[LogEntry]) -> Choice:
    """Float32 layers, with weights of 8 bits in the file, unless even that is slower."""
    made = press.at(_STORED).ship().quantized
    assert made is not None  # noqa: S101  # it rounds weights
    row = _timed(press.float_graph(), {_STORED.name: made}, samples, plan)[_STORED.name]
    if row["speedup"] < _TIE and row["speedup_high"] < 1:
        log.append(LogEntry("precision", _STORED.name, "declined", f"{_speed(row)}; float32 stays as it is"))
        return Choice(None, tuple(log))
    why = f"no int8 is faster than float32 here, so layers stay float and only the file is int8; {_speed(row)}"
    return Choice(_STORED, (*log, LogEntry("precision", _STORED.name, "done", why)))


def _timed(
    reference: ir.Model, graphs: Mapping[str, ir.Model], samples: Dataset, plan: LatencyPlan
) -> dict[str, dict[str, Any]]:
    """Latency of each graph, timed in turns with float32."""
    with tempfile.TemporaryDirectory(prefix="foldpress.") as folder:
        paths = {_FLOAT32: Path(folder) / f"{_FLOAT32}.onnx"}
        save_graph(reference, paths[_FLOAT32])
        for name, graph in graphs.items():
            paths[name] = Path(folder) / f"{name}.onnx"
            save_graph(apply(lean(keep_metadata=False), graph).model, paths[name])
        rows = latency_rows(measure(paths, samples, plan), _FLOAT32, _CONFIDENCE)
    return {row["graph"]: row for row in rows if row["graph"] != _FLOAT32}


def _entry(name: str, row: Mapping[str, Any], chosen: str | None) -> LogEntry:
    return LogEntry("precision", name, "done" if name == chosen else "declined", _speed(row))


def _speed(row: Mapping[str, Any]) -> str:
    """How fast, in words."""
    interval = f"{row['speedup_low']:.2f}–{row['speedup_high']:.2f}"
    return f"{row['speedup']:.2f}× float32's speed ({interval}) at batch {row['batch']}"
