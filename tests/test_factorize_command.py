"""`foldpress factorize` and `[factorize]`: what they write, and what they refuse."""

import json
from pathlib import Path

import pytest

import foldpress
from conftest import Classifier, Invoke, WriteRecipe
from foldpress import pruned_time
from foldpress.benchmark.ratios import Ratio
from foldpress.cost import graph_cost
from foldpress.errors import RecipeError
from foldpress.graph import load_graph
from foldpress.optimizer.factorize.forms import Method
from foldpress.recipe import make_table
from foldpress.tables.factorize import FactorizeTable


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads the user's own cache, or waits for a clock."""
    monkeypatch.setenv("FOLDPRESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(pruned_time, "time_ratio", lambda *_: Ratio(0.9, 0.88, 0.92))


def test_a_graph_is_factorized(classifier: Classifier, invoke: Invoke, tmp_path: Path) -> None:
    """Catches: a budget missed on the way to the file; a log that does not say what was done."""
    out = tmp_path / "out.onnx"
    command = ["factorize", classifier.net, "-o", out, "--data", classifier.data, "--macs", 0.8, "--json"]
    document = json.loads(invoke(*command).stdout)
    before, after = (graph_cost(load_graph(path)) for path in (classifier.net, out))
    assert document["macs"] == after.macs
    assert (after.macs or 0) <= 0.8 * (before.macs or 0)
    done = [entry for entry in document["log"] if entry["pass"] == "factorize" and entry["action"] == "done"]
    assert [entry["detail"].split()[0] for entry in done] == ["low-rank"]
    [time] = [entry for entry in document["log"] if entry["pass"] == "factorized-time"]
    assert "0.900 (0.880–0.920) of the unfactorized graph's time" in time["detail"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--macs", 0.01], "macs = 0.01 cannot be met: the layers that can be factorized allow"),
        (["--bytes", 0.5, "--method", "separable"], "with method = 'separable'"),
        (["--macs", 0.8, "--protect", "hiden"], "there is no layer hiden"),
        (["--macs", 0.8, "--parameters", 0.8], "exactly one of macs, parameters, bytes, latency, max_drop"),
        ([], "exactly one of macs"),
        (["--macs", 0.8, "--method", "svd"], "'low-rank'"),
    ],
)
def test_a_wrong_request_leaves_nothing_behind(
    options: list[object], told: str, classifier: Classifier, invoke: Invoke, tmp_path: Path
) -> None:
    """Catches: another exit code than 2, half a file, or an error that does not say what can be had."""
    out = tmp_path / "out.onnx"
    result = invoke("factorize", classifier.net, "-o", out, "--data", classifier.data, *options)
    assert result.exit_code == 2, result.stdout
    assert told in result.stderr.replace("\n", " ").replace("  ", " ")
    assert not out.exists()


def test_where_all_is_protected_it_says_so(classifier: Classifier, invoke: Invoke, tmp_path: Path) -> None:
    """Catches: the graph given back as it was."""
    out = tmp_path / "out.onnx"
    result = invoke("factorize", classifier.net, "-o", out, "--data", classifier.data, "--macs", 0.9, "--protect", "node",
                    "--protect", "node_2")  # fmt: skip
    assert result.exit_code == 2, result.stdout
    assert "is to stay as it is" in result.stderr
    assert not out.exists()


def test_a_largest_drop_becomes_a_share(classifier: Classifier, tmp_path: Path) -> None:
    """Catches: a drop measured on the samples that were fitted; a budget that is not told."""
    result = foldpress.factorize(
        classifier.net, tmp_path / "out.onnx", data=str(classifier.data), max_drop=0.02, samples=200
    )
    searched = [entry for entry in result.log if entry["pass"] == "max-drop"]
    assert {entry["action"] for entry in searched} >= {"done"}
    assert (result.macs or 0) < (graph_cost(load_graph(classifier.net)).macs or 0)


def test_a_job_writes_the_factorized_graph(recipe: WriteRecipe, invoke: Invoke, tmp_path: Path) -> None:
    """Catches: a stage that the run leaves out, or whose graph is not the one that int8 is made of."""
    path = recipe(factorize={"macs": 0.8, "method": "low-rank"})
    result = invoke("run", path, "-o", tmp_path / "out", "--json")
    assert result.exit_code in (0, 1, 3), result.stderr
    graphs = json.loads(result.stdout)["graphs"]
    assert list(graphs) == ["exported.onnx", "factorized.onnx", "quantized.onnx"]
    assert (
        graphs["quantized.onnx"]["macs"] == graphs["factorized.onnx"]["macs"] <= 0.8 * graphs["exported.onnx"]["macs"]
    )


def test_methods_are_those_of_the_optimizer() -> None:
    """Catches: a form that the recipe does not know, or one that is not there."""
    for method in Method.__args__:  # type: ignore[attr-defined]
        assert make_table(FactorizeTable, method=method, macs=0.5).method == method
    with pytest.raises(RecipeError, match="exactly one"):
        make_table(FactorizeTable, method="auto")
