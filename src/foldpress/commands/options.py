"""The options that several commands share, so that they read the same everywhere."""

from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout, and nothing else there.")]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="No progress.")]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="Log everything; show tracebacks.")]
Data = Annotated[str, typer.Option("--data", "-d", help="An .npz, a folder of .npy, or module:callable.")]
Out = Annotated[Path, typer.Option("--output", "-o", help="The .onnx file to write.")]
Samples = Annotated[int, typer.Option(min=2, help="Calibration samples.")]
KeepMetadata = Annotated[bool, typer.Option("--keep-metadata", help="Leave names, shapes and notes in the file.")]
Macs = Annotated[float | None, typer.Option(help="Share of the multiply-accumulates to leave.")]
Parameters = Annotated[float | None, typer.Option(help="Share of the parameters to leave.")]
Bytes = Annotated[float | None, typer.Option("--bytes", help="Share of the weights' bytes to leave.")]
Latency = Annotated[float | None, typer.Option(help="Share of the float32 graph's time to leave, as measured.")]
Seed = Annotated[int, typer.Option(min=0, help="Of the draw of calibration samples.")]
Confidence = Annotated[float | None, typer.Option(min=0.5, max=0.9999, help="Of every bound.")]
Task = Annotated[str, typer.Option(help="What a drop is of: classification, regression or module:callable.")]
MaxDrop = Annotated[float | None, typer.Option(help="Largest drop, on the upper confidence bound.")]
MaxFlips = Annotated[float | None, typer.Option(help="Largest share of changed predictions.")]
MaxClassDrop = Annotated[float | None, typer.Option(help="Largest drop of any class.")]
MaxMetricDrop = Annotated[float | None, typer.Option(help="Largest drop of the whole-set metric.")]
