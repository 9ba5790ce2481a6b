"""The graphs that a run leaves in its folder, by name."""

from foldpress.rundir import RunDir

EXPORTED, PRUNED, QUANTIZED = "exported.onnx", "pruned.onnx", "quantized.onnx"


def graphs(here: RunDir) -> list[str]:
    """The graphs of this run, in order; the last one ships."""
    return [name for name in (EXPORTED, PRUNED, QUANTIZED) if (here / name).is_file()]


def artifact(here: RunDir) -> str:
    """The graph that ships."""
    return graphs(here)[-1]
