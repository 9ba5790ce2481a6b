"""Single stages, each from a file to a file."""

from pathlib import Path
from typing import Annotated, Any

import typer

import foldpress
from foldpress.commands.options import (
    Bytes,
    Data,
    Json,
    KeepMetadata,
    Latency,
    Macs,
    Out,
    Parameters,
    Quiet,
    Samples,
    Seed,
    Task,
    Verbose,
)
from foldpress.console import command
from foldpress.key_value import read_pair
from foldpress.render import show_stage


def export(
    source: Annotated[str, typer.Argument(help="module:callable giving a torch.nn.Module.")],
    output: Out, data: Data,
    weights: Annotated[str | None, typer.Option("--weights", "-w", help=".safetensors, .pt or .pth.")] = None,
    json: Json = False, quiet: Quiet = False, verbose: Verbose = False,
) -> None:  # fmt: skip
    """PyTorch to ONNX, verified on real samples."""
    with command(as_json=json, quiet=quiet, verbose=verbose) as out:
        result = foldpress.export(source, output, data=data, weights=weights)
        out.show(result.as_json(), *show_stage(result))


def prune(
    graph: Annotated[Path, typer.Argument(help="A float .onnx file.")],
    output: Out, data: Data,
    method: Annotated[str, typer.Option(help="structured, unstructured or 2:4.")] = "structured",
    macs: Macs = None, parameters: Parameters = None, size: Bytes = None, latency: Latency = None,
    max_drop: Annotated[float | None, typer.Option(help="Largest drop on samples that pruning has not seen.")] = None,
    protect: Annotated[list[str] | None, typer.Option(help="A layer whose inputs and outputs all stay.")] = None,
    score: Annotated[str, typer.Option(help="Which channels go first: obs, activation, magnitude or l1.")] = "obs",
    task: Task = "classification",
    sparsity: Annotated[float | None, typer.Option(help="Share of zeros (unstructured).")] = None,
    threshold: Annotated[float | None, typer.Option(help="Largest magnitude that becomes zero (unstructured).")] = None,
    layer: Annotated[list[str] | None, typer.Option(help="NAME=SHARE, or its threshold, of one layer by itself.")] = None,
    samples: Samples = 512, seed: Seed = 0,
    keep_metadata: KeepMetadata = False,
    json: Json = False, quiet: Quiet = False, verbose: Verbose = False,
) -> None:  # fmt: skip
    """Remove channels, repaired by least squares on the data; or single weights."""
    with command(as_json=json, quiet=quiet, verbose=verbose) as out:
        budget: dict[str, Any] = {"macs": macs, "parameters": parameters, "bytes": size, "latency": latency,
                                  "max_drop": max_drop, "sparsity": sparsity, "threshold": threshold, "score": score}  # fmt: skip
        layers = dict(read_pair("--layer", one, "node_conv2d=0.5") for one in layer or ())
        result = foldpress.prune(graph, output, data=data, method=method, protect=protect or (), task=task,  # type: ignore[arg-type]
                                 layers=layers, samples=samples, seed=seed, keep_metadata=keep_metadata, **budget)  # fmt: skip
        out.show(result.as_json(), *show_stage(result))


def factorize(
    graph: Annotated[Path, typer.Argument(help="A float .onnx file.")],
    output: Out, data: Data,
    method: Annotated[str, typer.Option(help="auto, low-rank, separable, tucker, depthwise or kronecker.")] = "auto",
    macs: Macs = None, parameters: Parameters = None, size: Bytes = None, latency: Latency = None,
    max_drop: Annotated[float | None, typer.Option(help="Largest drop on samples that the fit has not seen.")] = None,
    protect: Annotated[list[str] | None, typer.Option(help="A layer that stays as it is.")] = None,
    task: Task = "classification",
    samples: Samples = 512, seed: Seed = 0,
    keep_metadata: KeepMetadata = False,
    json: Json = False, quiet: Quiet = False, verbose: Verbose = False,
) -> None:  # fmt: skip
    """Layers as chains of smaller ones, fitted by least squares on the data."""
    with command(as_json=json, quiet=quiet, verbose=verbose) as out:
        budget: dict[str, Any] = {"macs": macs, "parameters": parameters, "bytes": size, "latency": latency,
                                  "max_drop": max_drop}  # fmt: skip
        result = foldpress.factorize(graph, output, data=data, method=method, protect=protect or (), task=task,  # type: ignore[arg-type]
                                     samples=samples, seed=seed, keep_metadata=keep_metadata, **budget)  # fmt: skip
        out.show(result.as_json(), *show_stage(result))


def share(
    graph: Annotated[Path, typer.Argument(help="A float .onnx file.")],
    output: Out, data: Data,
    bits: Annotated[int | None, typer.Option(help="1 to 8, of each weight's place among its layer's values: 4.")] = None,
    per: Annotated[str, typer.Option(help="What has values of its own: tensor or channel.")] = "tensor",
    method: Annotated[str, typer.Option(help="kmeans, or binary and ternary, which have 1 and 2 bits.")] = "kmeans",
    keep_float: Annotated[list[str] | None, typer.Option(help="A layer, a type of operator, first or last, to leave.")] = None,
    layer: Annotated[list[str] | None, typer.Option(help="NAME=BITS of one layer.")] = None,
    samples: Samples = 512, seed: Seed = 0,
    keep_metadata: KeepMetadata = False,
    json: Json = False, quiet: Quiet = False, verbose: Verbose = False,
) -> None:  # fmt: skip
    """Let the weights of a layer share a few values: the file gets smaller, and packs well."""
    with command(as_json=json, quiet=quiet, verbose=verbose) as out:
        layers = dict(read_pair("--layer", one, "first=8") for one in layer or ())
        values: dict[str, Any] = {
            "bits": bits,
            "per": per,
            "method": method,
            "keep_float": keep_float or (),
            "layers": layers,
        }
        result = foldpress.share(
            graph, output, data=data, samples=samples, seed=seed, keep_metadata=keep_metadata, **values
        )
        out.show(result.as_json(), *show_stage(result))


def quantize(
    graph: Annotated[Path, typer.Argument(help="A float .onnx file.")],
    output: Out, data: Data,
    target: Annotated[str, typer.Option(help="auto, x86-vnni, x86, arm, tensorrt or qnn.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto: the fastest here; static; dynamic, for recurrent and attention "
                                                "layers; weight-int8, weight-int4; weights, with --bits; float16.")] = "auto",
    bits: Annotated[int | None, typer.Option(help="1 to 8, for --precision weights.")] = None,
    calibration: Annotated[str, typer.Option(help="auto, minmax, percentile, entropy or mse.")] = "auto",
    keep_float: Annotated[list[str] | None, typer.Option(help="A node, or a type of operator, to leave float.")] = None,
    float_macs: Annotated[float, typer.Option(help="Share of the MACs that may stay float, where it helps most.")] = 0.0,
    weight_passes: Annotated[list[str] | None, typer.Option(help="Passes over weights before static int8: auto, none, or any "
                                                      "of equalization, smooth, gptq, bias-correction.")] = None,
    samples: Annotated[int | None, typer.Option(min=2, help="Calibration samples: 512, or those of --statistics.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of the draw of calibration samples: 0.")] = None,
    statistics: Annotated[Path | None, typer.Option(help="An .npz file of what static int8 learns, from an earlier call, a run "
                                                    "or collect_statistics; written where there is none yet.")] = None,
    keep_metadata: KeepMetadata = False,
    json: Json = False, quiet: Quiet = False, verbose: Verbose = False,
) -> None:  # fmt: skip
    """Int8, calibrated on real samples; or fewer bits, or float16."""
    with command(as_json=json, quiet=quiet, verbose=verbose) as out:
        result = foldpress.quantize(
            graph, output, data=data, target=target, precision=precision, bits=bits, calibration=calibration,
            keep_float=keep_float or (), float_macs=float_macs, weight_passes=weight_passes or "auto", samples=samples,
            seed=seed, statistics=statistics, keep_metadata=keep_metadata,
        )  # fmt: skip
        out.show(result.as_json(), *show_stage(result))
