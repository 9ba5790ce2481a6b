"""The machine: what every report records of it."""

import json

from foldpress import machine


def test_environment_names_versions_and_processor() -> None:
    """Catches a report whose figures cannot be laid to any machine; and facts that JSON cannot hold."""
    found = machine.environment()
    assert {"processor", "cores", "memory_gb", "instruction_sets", "platform", "python", "versions"} <= set(found)
    assert {"onnx", "onnxruntime", "numpy"} <= set(found["versions"])
    assert found["memory_gb"] > 0
    json.dumps(found, allow_nan=False)
