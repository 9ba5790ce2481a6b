"""`bench`, `inspect` and `doctor`."""

from pathlib import Path

import pytest

from conftest import Invoke
from contract import INSPECTED, LATENCY, document_of


@pytest.mark.parametrize("as_json", [False, True])
def test_bench(as_json: bool, work: Path, finished: Path, invoke: Invoke) -> None:
    """Catches a latency list without the keys of the contract, or whose reference is not the first graph."""
    graphs = [work / "net.onnx", *([finished / "quantized.onnx"] if as_json else [])]
    options = ["--processes", 2, "--seconds", 0.1, *(["--json", "--data", work / "data.npz"] if as_json else [])]
    result = invoke("bench", *graphs, *options)
    assert result.exit_code == 0, result.stderr
    assert "net.onnx" in result.stdout
    if as_json:
        rows = document_of(result)
        assert [row["graph"] for row in rows if row.keys() >= LATENCY] == ["net.onnx", "quantized.onnx"]
        assert rows[0]["speedup"] == 1.0
        assert rows[1]["speedup_low"] <= rows[1]["speedup"] <= rows[1]["speedup_high"]


@pytest.mark.parametrize("as_json", [False, True])
def test_inspect(as_json: bool, work: Path, invoke: Invoke) -> None:
    """Catches counts that are off: they are known for two layers."""
    result = invoke("inspect", work / "net.onnx", *(["--json"] if as_json else []))
    assert result.exit_code == 0, result.stderr
    if as_json:
        document = document_of(result)
        assert document.keys() >= INSPECTED
        assert document["macs"] == 64 * 32 + 32 * 10
        assert document["parameters"] == document["macs"] + 32 + 10
        assert document["operators"] == {"Gemm": 2, "Relu": 1}
        assert [layer["macs"] for layer in document["layers"]] == [64 * 32, 32 * 10]
    else:
        assert "2,410 parameters" in result.stdout


@pytest.mark.parametrize("as_json", [False, True])
def test_doctor(as_json: bool, invoke: Invoke) -> None:
    """Catches a doctor that does not name the provider that is always there, or the versions."""
    result = invoke("doctor", *(["--json"] if as_json else []))
    assert result.exit_code == 0, result.stderr
    assert "CPUExecutionProvider" in result.stdout
    if as_json:
        document = document_of(result)
        assert document.keys() >= {"providers", "instruction_sets", "versions", "missing", "target"}
        assert "onnxruntime" in document["versions"]
