"""The machine: what every report records of it, and what `doctor` says."""

import json

import pytest

from foldpress import machine


def test_environment_names_versions_and_processor() -> None:
    """Catches a report whose figures cannot be laid to any machine; and facts that JSON cannot hold."""
    found = machine.environment()
    assert {"processor", "cores", "memory_gb", "instruction_sets", "platform", "python", "versions"} <= set(found)
    assert {"onnx", "onnxruntime", "numpy"} <= set(found["versions"])
    assert found["memory_gb"] > 0
    json.dumps(found, allow_nan=False)


def test_doctor_says_what_is_missing_and_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a missing extra without the command that installs it."""
    monkeypatch.setattr(machine, "matmul_speeds", lambda: {"U8S8": 3.0})
    monkeypatch.setattr(machine, "_version", lambda package: None if package == "mlxtend" else "1")
    found = machine.doctor()
    assert [one["package"] for one in found["missing"]] == ["mlxtend"]
    assert "foldpress[models]" in found["missing"][0]["get_it"]
    assert "CPUExecutionProvider" in found["providers"]
    assert found["target"]["why"]


def test_speeds_of_all_three_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a pair of types that onnxruntime cannot multiply, or float32 measured against itself."""
    monkeypatch.setattr(machine, "_REPEATS", 3)
    found = machine.matmul_speeds()
    assert set(found) == {"U8S8", "U8U8", "S8S8"}
    assert all(ratio > 0 for ratio in found.values())
