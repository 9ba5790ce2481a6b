"""Transformer fusion (attention, layer normalization, GELU) by onnxruntime's own tools, each in a process of its own.

`onnxruntime.transformers` is what the deprecated package onnxruntime-tools became. Importing the old one hides a module of
the new one, so neither is ever imported here: each runs as a child process on a file in a private folder.
"""

import importlib.util
import os
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import onnx
import onnx.version_converter
import onnx_ir as ir

from foldpress.errors import MissingExtraError, PassError
from foldpress.graph import write_graph
from foldpress.optimizer.passes import LogEntry, PassResult

Tool = Literal["onnxruntime", "onnxruntime-tools"]

_MODULES: dict[str, str] = {
    "onnxruntime": "onnxruntime.transformers.optimizer",
    "onnxruntime-tools": "onnxruntime_tools.optimizer_cli",
}
_TIMEOUT_SECONDS = 300
_LAYER_NORMALIZATION_SINCE, _ASIDE = 17, "foldpress.aside"


@dataclass(frozen=True)
class FuseTransformer:
    """Fuse what the tool recognizes. `heads` and `width` of 0 let it find them.

    Args:
        tool: which of the two packages; the old one knows opsets up to 12 only.
        heads: attention heads.
        width: width of the residual stream.

    Raises:
        MissingExtraError: onnxruntime-tools is not installed.
        PassError: the tool failed on this graph.
    """

    tool: Tool = "onnxruntime"
    heads: int = 0
    width: int = 0
    name: str = "fuse-transformer"

    def __call__(self, model: ir.Model) -> PassResult:
        """Run the tool on a copy; the log counts the operators that it made."""
        if self.tool == "onnxruntime-tools" and importlib.util.find_spec("onnxruntime_tools") is None:
            raise MissingExtraError("onnxruntime-tools", "fusion by onnxruntime-tools", "onnxruntime-tools")
        before = Counter(node.op_type for node in model.graph)
        with tempfile.TemporaryDirectory(prefix="foldpress.") as folder:
            source, fused = Path(folder) / "in.onnx", Path(folder) / "out.onnx"
            write_graph(model, source)
            self._run(source, fused)
            result = ir.from_proto(_standard(onnx.load(fused)))
        made = Counter(node.op_type for node in result.graph) - before
        if not made:
            return PassResult(model, (LogEntry(self.name, "graph", "declined", f"{self.tool} recognized nothing"),))
        detail = f"{self.tool} made {', '.join(f'{count} {name}' for name, count in sorted(made.items()))}"
        return PassResult(result, (LogEntry(self.name, "graph", "done", detail),))

    def _run(self, source: Path, fused: Path) -> None:
        command = [sys.executable, "-P", "-m", _MODULES[self.tool], "--input", str(source), "--output", str(fused)]
        command += ["--model_type", "bert", "--num_heads", str(self.heads), "--hidden_size", str(self.width)]
        environment = {**os.environ, "ORT_DISABLE_TELEMETRY": "1"}
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, env=environment, check=False
        )
        if done.returncode or not fused.is_file():
            last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
            raise PassError(f"{self.tool} cannot optimize this graph: {last}")


def _standard(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Both tools write LayerNormalization into opsets that do not have it yet; raise the opset to the first that has."""
    opset = next(entry.version for entry in proto.opset_import if entry.domain == "")
    fused = [node for node in proto.graph.node if node.op_type == "LayerNormalization" and not node.domain]
    if opset >= _LAYER_NORMALIZATION_SINCE or not fused:
        return proto
    for node in fused:  # the converter passes by what stands in another domain
        node.domain = _ASIDE
    proto.opset_import.add(domain=_ASIDE, version=1)
    converted = onnx.version_converter.convert_version(proto, _LAYER_NORMALIZATION_SINCE)
    for node in converted.graph.node:
        node.domain = "" if node.domain == _ASIDE else node.domain
    kept = [entry for entry in converted.opset_import if entry.domain != _ASIDE]
    del converted.opset_import[:]
    converted.opset_import.extend(kept)
    return converted
