"""What the contract promises of the commands: their names, the stages of a run, its files, the keys of every document."""

import json
from pathlib import Path
from typing import Any

COMMANDS = ("run", "init", "export", "prune", "factorize", "share", "quantize", "validate", "bench", "gate", "report", "inspect", "pack", "unpack",
            "doctor")  # fmt: skip
STAGES = ("export", "statistics", "precision", "press", "folds", "test", "latency", "agreement")
GRAPHS = ("exported.onnx", "pruned.onnx", "quantized.onnx")
LEFT = (*GRAPHS, "report.json", "report.html", "report.md", "junit.xml", "run.log", "manifest.json",
        "evidence/folds.npz", "evidence/test.npz", "evidence/latency.json")  # fmt: skip

REPORT = {"schema", "verdict", "artifact", "checks", "accuracy", "graphs", "latency", "timing", "environment"}
CHECK = {"name", "verdict", "value", "bound", "limit", "n", "why"}
TEST = {"n", "baseline", "artifact", "drop", "drop_upper", "flips", "flips_upper"}
FOLDS = {"n", "baseline", "artifact", "drop", "drop_upper", "flips", "each"}
FOLD = {"fold", "n", "baseline", "artifact", "drop", "flips"}
GRAPH = {"bytes", "parameters", "macs", "sparsity", "sha256"}
LATENCY = {"provider", "batch", "threads", "graph", "n", "p50_ms", "p90_ms", "p99_ms", "speedup", "speedup_low",
           "speedup_high", "placement", "peak_rss_mb", "load_ms"}  # fmt: skip
STAGE = {"output", "bytes", "macs", "parameters", "seconds", "log"}
INSPECTED = {"bytes", "parameters", "macs", "sparsity", "operators", "layers"}


def document_of(result: Any, code: int = 0) -> Any:
    """The one JSON document on stdout."""
    assert result.exit_code == code, result.stderr
    return json.loads(result.stdout)


def json_file(path: Path) -> dict[str, Any]:
    """A JSON file of a run."""
    return dict(json.loads(path.read_text(encoding="utf-8")))
