"""The graphs that a run leaves in its folder, by name."""

from foldpress.rundir import RunDir

EXPORTED, DISTILLED, FINETUNED = "exported.onnx", "distilled.onnx", "finetuned.onnx"
PRUNED, FACTORIZED, SHARED, QUANTIZED = "pruned.onnx", "factorized.onnx", "shared.onnx", "quantized.onnx"
PRESSED = (PRUNED, FACTORIZED, SHARED, QUANTIZED)
STUDENT = "student.safetensors"


def graphs(here: RunDir) -> list[str]:
    """The graphs of this run, in order; the last one ships."""
    every = (EXPORTED, DISTILLED, FINETUNED, *PRESSED)
    return [name for name in every if (here / name).is_file()]


def trained(here: RunDir) -> str:
    """The graph after all training, which pruning, sharing and quantization start from."""
    return [name for name in graphs(here) if name not in PRESSED][-1]


def artifact(here: RunDir) -> str:
    """The graph that ships."""
    return graphs(here)[-1]
