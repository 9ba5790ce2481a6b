"""Budgets of pruning on the command line: those that can be met are, those that cannot leave nothing behind."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from conftest import Classifier, Invoke, WriteRecipe
from foldpress import latency_table, pruned_time, time_budget
from foldpress.benchmark.ratios import Ratio
from foldpress.graph import save_graph


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the user's own cache."""
    monkeypatch.setenv("FOLDPRESS_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that needs a millisecond for each hidden unit, so that tests tell the same on every machine."""

    def times(graphs: dict[str, ir.Model], *_: object) -> dict[str, float]:
        return {name: _hidden(graph) for name, graph in graphs.items()}

    def ratio(reference: ir.Model, graph: ir.Model, *_: object) -> Ratio:
        share = _hidden(graph) / _hidden(reference)
        return Ratio(share, share, share)

    monkeypatch.setattr(latency_table, "time_graphs", times)
    for module in (time_budget, pruned_time):
        monkeypatch.setattr(module, "time_ratio", ratio)


def _hidden(graph: ir.Model) -> float:
    shapes = [value.shape.numpy() for value in graph.graph.initializers.values() if value.shape is not None]
    return float(next(shape[1] for shape in shapes if len(shape) == 2 and shape[0] == 64))


def _entries(log: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    return [entry for entry in log if entry["pass"] == name]


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize("budget", [["--macs", 0.01], ["--parameters", 0.01], ["--bytes", 0.01], ["--latency", 0.01]])
def test_a_budget_that_cannot_be_met_says_which_can(
    budget: list[object], classifier: Classifier, invoke: Invoke, tmp_path: Path
) -> None:
    """Catches: another exit code, half a file, or advice that fails in its turn."""
    out = tmp_path / "out.onnx"
    command = ["prune", classifier.net, "-o", out, "--data", classifier.data]
    result = invoke(*command, *budget)
    assert result.exit_code == 2, result.stdout
    assert "cannot be met" in result.stderr
    assert not out.exists()
    advice = result.stderr.split(f"ask for {str(budget[0])[2:]} = ")[1].split()[0]
    assert invoke(*command, budget[0], advice).exit_code == 0
    assert out.is_file()


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize("budget", [["--macs", 0.8], ["--latency", 0.8], ["--max-drop", 0.05]])
def test_where_nothing_may_go_every_budget_is_refused(
    budget: list[object], classifier: Classifier, invoke: Invoke, tmp_path: Path
) -> None:
    """Catches: a graph of one layer, or one that is all protected, given back as if it were pruned."""
    single, out = tmp_path / "single.onnx", tmp_path / "out.onnx"
    text = '<ir_version: 9, opset_import: ["" : 18]> g (float[N, 64] x) => (float[N, 10] y) { y = MatMul(x, w) }'
    proto = onnx.parser.parse_model(text)
    proto.graph.initializer.append(onnx.numpy_helper.from_array(np.ones((64, 10), np.float32), "w"))
    save_graph(ir.from_proto(proto), single)
    for graph, options in ((single, []), (classifier.net, ["--protect", "node"])):
        result = invoke("prune", graph, "-o", out, "--data", classifier.data, *budget, *options)
        assert result.exit_code == 2, result.stdout
        assert "no layer of this graph can lose channels" in result.stderr
        assert not out.exists()


def test_an_unknown_layer_cannot_be_protected(classifier: Classifier, invoke: Invoke, tmp_path: Path) -> None:
    """Catches: a misspelled layer that is pruned all the same."""
    out, options = tmp_path / "out.onnx", ["--data", classifier.data, "--macs", 0.8, "--protect", "hiden"]
    result = invoke("prune", classifier.net, "-o", out, *options)
    assert result.exit_code == 2
    assert "there is no layer hiden" in result.stderr
    assert "available:" in result.stderr
    assert not out.exists()


@pytest.mark.usefixtures("clock")
def test_a_job_with_a_budget_of_time(recipe: WriteRecipe, invoke: Invoke, tmp_path: Path) -> None:
    """Catches: a budget met in float32 where int8 ships; rounds with another budget; a resumed run that searches again."""
    path = recipe(prune={"latency": 0.7}, quantize={"target": "auto", "precision": "static"})
    document = json.loads(invoke("run", path, "-o", tmp_path / "out", "--json").stdout)
    log = json.loads((tmp_path / "out/evidence/facts.json").read_text())["log"]
    assert document["graphs"]["pruned.onnx"]["macs"] <= 0.7 * document["graphs"]["exported.onnx"]["macs"]
    [time] = _entries(log, "pruned-time")
    assert "in static" in time["detail"]
    told = document["pruning"]
    assert (told["budget"], told["asked"]) == ("latency", 0.7)
    assert told["macs_left"] <= 0.7
    assert told["time"]["ratio"] <= 0.7
    assert f"{told['time']['ratio']:.3f}" in time["detail"]
    for name in ("report.md", "report.html"):
        assert "Pruned to latency" in (tmp_path / "out" / name).read_text()
    searched = [entry for entry in _entries(log, "latency") if entry["subject"] == "search"]
    assert [entry["action"] for entry in searched].count("done") == 1
    invoke("run", path, "-o", tmp_path / "out", "--resume")
    assert json.loads((tmp_path / "out/evidence/facts.json").read_text())["log"] == log


@pytest.mark.usefixtures("clock")
def test_a_job_with_a_largest_drop(recipe: WriteRecipe, invoke: Invoke, tmp_path: Path) -> None:
    """Catches: a search that is not told, or one that the rounds share and that has seen the folds they are judged on."""
    path = recipe(prune={"max_drop": 0.03}, quantize={"samples": 300})
    result = invoke("run", path, "-o", tmp_path / "out", "--json")
    assert result.exit_code in (0, 1, 3), result.stderr
    log = json.loads((tmp_path / "out/evidence/facts.json").read_text())["log"]
    judged = {entry["subject"] for entry in _entries(log, "max-drop")}
    assert judged == {"for the graph that ships", "without fold 0", "without fold 1", "without fold 2"}
    document = json.loads(result.stdout)
    assert "pruned.onnx" in document["graphs"]
    assert (document["pruning"]["budget"], document["pruning"]["asked"]) == ("max_drop", 0.03)
    assert len(_entries(log, "pruned-time")) == 1


@pytest.mark.usefixtures("clock")
def test_the_command_gives_the_time_too(classifier: Classifier, invoke: Invoke, tmp_path: Path) -> None:
    """Catches: a build pipeline that has to read the log to learn that a cut cost time."""
    options = ["-o", tmp_path / "out.onnx", "--data", classifier.data, "--macs", 0.8, "--json"]
    found = json.loads(invoke("prune", classifier.net, *options).stdout)
    time = found["pruning"].pop("time")
    assert found["pruning"]["macs_left"] <= 0.8
    assert (time["provider"], time["precision"], time["costs_time"]) == ("CPUExecutionProvider", "float32", False)
    assert time["ratio"] == time["low"] == time["high"] < 1
    assert "macs" in found
