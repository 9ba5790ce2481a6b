"""What `doctor` says."""

import pytest

from foldpress import checkup


def test_doctor_says_what_is_missing_and_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a missing extra without the command that installs it."""
    monkeypatch.setattr(checkup, "matmul_speeds", lambda: {"U8S8": 3.0})
    monkeypatch.setattr(checkup, "version", lambda package: None if package == "mlxtend" else "1")
    found = checkup.doctor()
    assert [one["package"] for one in found["missing"]] == ["mlxtend"]
    assert "foldpress[models]" in found["missing"][0]["get_it"]
    assert "CPUExecutionProvider" in found["providers"]
    assert found["target"]["why"]


def test_speeds_of_all_three_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a pair of types that onnxruntime cannot multiply, or float32 measured against itself."""
    monkeypatch.setattr(checkup, "_REPEATS", 3)
    found = checkup.matmul_speeds()
    assert set(found) == {"U8S8", "U8U8", "S8S8"}
    assert all(ratio > 0 for ratio in found.values())
