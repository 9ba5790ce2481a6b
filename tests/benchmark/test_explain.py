"""Where the time of a graph goes: every node once, its layer's own name, and what is no part of the network."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest

from foldpress.benchmark.explain import explain
from foldpress.benchmark.plan import LatencyPlan
from foldpress.benchmark.profile_worker import read_profile
from foldpress.data import Dataset

FLOAT = """<ir_version: 9, opset_import: ["" : 18]> g (float[N, 16, 8, 8] x) => (float[N, 16, 8, 8] y)
    <float[16, 16, 3, 3] W> { [first] c = Conv<pads = [1, 1, 1, 1]>(x, W) y = Relu(c) }"""
LEFT_OVER = """<ir_version: 9, opset_import: ["" : 18]> g (float[N, 16, 8, 8] x) => (float[N, 8, 8, 16] y)
    <float s = {0.1}, uint8 z = {128}, float[16, 16, 3, 3] W> {
    [first] c = Conv<pads = [1, 1, 1, 1]>(x, W) e = Erf(c) q = QuantizeLinear(e, s, z) d = DequantizeLinear(q, s, z)
    f = Sin(d) y = Transpose<perm = [0, 2, 3, 1]>(f) }"""


@pytest.fixture
def graphs(tmp_path: Path) -> dict[str, Path]:
    found = {}
    for name, text in (("a", FLOAT), ("b", LEFT_OVER)):
        model = onnx.parser.parse_model(text)
        weight = onnx.numpy_helper.from_array(np.ones((16, 16, 3, 3), np.float32), "W")
        model.graph.initializer.extend([weight])
        found[name] = tmp_path / f"{name}.onnx"
        onnx.save(model, found[name])
    return found


def test_layers_stand_side_by_side_and_what_is_left_over_is_told(graphs: dict[str, Path]) -> None:
    """Catches a layer that goes by another name after fusion or a change of layout, and conversions that are overlooked."""
    found = explain(graphs, Dataset({"x": np.ones((4, 16, 8, 8), np.float32)}), LatencyPlan(batch=2))
    first = next(row for row in found["layers"] if row["layer"] == "first")
    assert first["operator"] == {"a": "Conv", "b": "Conv"}
    assert all(us > 0 for us in first["us"].values())
    b = found["graphs"]["b"]
    assert [node["operator"] for node in b["not_fused"]] == ["QuantizeLinear", "DequantizeLinear"]
    assert "Transpose" in {node["operator"] for node in b["moves"]}
    assert b["elsewhere"] == []
    assert found["graphs"]["a"]["not_fused"] == []
    relu = [row for row in found["operators"] if row["operator"] == "Erf"]
    assert [row["nodes"] for row in relu] == [{"a": 0, "b": 1}]
    for graph in found["graphs"].values():
        assert graph["run_us"] >= graph["outside_us"] >= 0


def event(name: str, start: int, took: int, category: str = "Node", index: int = 0) -> dict[str, Any]:
    facts = {"node_index": str(index), "op_name": "Conv", "provider": "CPUExecutionProvider"}
    return {"cat": category, "name": name, "ts": start, "dur": took, "args": facts}


def test_a_profile_is_averaged_over_the_last_runs() -> None:
    """Catches warm-up runs in the average, one slow run that moves it, and a node of a loop counted once."""
    events = [event("model_run", 0, 900, "Session"), event("n_kernel_time", 1, 800)]
    for run, took in enumerate([4, 4, 8, 4000], 1):
        events += [event("model_run", 1000 * run, took + 10, "Session"), event("n_fence_before", 1000 * run, 1)]
        events += [event("n_kernel_time", 1000 * run + part, took // 2) for part in (1, 2)]
    found = read_profile(events, 4)
    assert found["nodes"] == [{"name": "n", "operator": "Conv", "provider": "CPUExecutionProvider", "us": 6.0}]
    assert (found["run_us"], found["runs"]) == (16.0, 4)


def test_the_command_shows_what_it_prints_as_json(graphs: dict[str, Path], invoke: Any) -> None:
    """Catches a setting or a graph left out of either form."""
    import json

    options = ["--explain", "--batch", 2]
    document = json.loads(invoke("bench", graphs["a"], graphs["a"], *options, "--json", "-q").stdout)
    assert [len(one["graphs"]) for one in document["explain"]] == [2]
    shown = invoke("bench", graphs["a"], *options, "-q").stdout
    assert "costliest nodes" in shown
    assert "nothing left over" in shown or "copies and layouts" in shown
