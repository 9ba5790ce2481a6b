"""Training a student, from data to a file."""

from pathlib import Path
from typing import Annotated, Any

import typer

import foldpress
from foldpress.commands.options import Data, Json, Quiet, Verbose
from foldpress.console import command
from foldpress.key_value import split_pair
from foldpress.render import show_stage


def distill(
    student: Annotated[str, typer.Argument(help="module:callable giving a torch.nn.Module.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The .safetensors file to write; or an .onnx file, which the "
                                         "weights go beside.")],
    data: Data,
    teacher: Annotated[list[str], typer.Option("--teacher", "-t", help="module:callable, an .onnx file, or self: the student's "
                                               "moving average; several teach together.")],
    teacher_weights: Annotated[list[str] | None, typer.Option(help="Of each teacher that is module:callable, in order.")] = None,
    weights: Annotated[str | None, typer.Option("--weights", "-w", help="That the student starts from.")] = None,
    unlabelled: Annotated[str | None, typer.Option(help="More samples, without targets.")] = None,
    task: Annotated[str, typer.Option(help="classification or regression.")] = "classification",
    judged_output: Annotated[int, typer.Option(min=0, help="Position of the output that the targets belong to: 0.")] = 0,
    gamma: Annotated[float | None, typer.Option(help="Share of the soft targets, 0 to 1: 0.9.")] = None,
    temperature: Annotated[float | None, typer.Option(help="That softens them: 4.")] = None,
    ramp_up: Annotated[float | None, typer.Option(help="Share of the steps over which gamma rises, 0 to 1: 0.")] = None,
    decay: Annotated[float | None, typer.Option(help="Of the moving average, in a step, with teacher self: 0.99.")] = None,
    feature: Annotated[list[str] | None, typer.Option(help="STUDENT=TEACHER, modules whose outputs are to become alike.")] = None,
    feature_weight: Annotated[float | None, typer.Option(help="Of their squared difference: 1.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the data, at most: 30.")] = None,
    batch: Annotated[int | None, typer.Option(help="Samples in a step: 64.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="The highest one of the schedule: 0.001.")] = None,
    held_back: Annotated[float | None, typer.Option(help="Share of the labelled samples to stop by: 0.1.")] = None,
    patience: Annotated[int | None, typer.Option(help="Epochs without a better one after which training ends: 10.")] = None,
    optimizer: Annotated[str | None, typer.Option(help="module:callable, from parameters to an optimizer.")] = None,
    schedule: Annotated[str | None, typer.Option(help="module:callable, from optimizer and steps to a schedule.")] = None,
    augment: Annotated[str | None, typer.Option(help="module:callable, from inputs to inputs.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of first weights, order and augmentation: 0.")] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="A file for the state after every epoch; if it is there, training goes "
                                                    "on from it.")] = None,
    json: Json = False, quiet: Quiet = False, verbose: Verbose = False,
) -> None:  # fmt: skip
    """Train a small network beside large ones (distillation)."""
    with command(as_json=json, quiet=quiet, verbose=verbose) as out:
        options: dict[str, Any] = {
            "weights": weights, "unlabelled": unlabelled, "gamma": gamma, "temperature": temperature,
            "ramp_up": ramp_up, "decay": decay, "epochs": epochs, "batch": batch, "learning_rate": learning_rate,
            "held_back": held_back, "patience": patience, "feature_weight": feature_weight,
            "features": dict(split_pair("--feature", pair, "block1=layer1") for pair in feature or ()) or None,
            "optimizer": optimizer, "schedule": schedule, "augment": augment, "seed": seed,
        }  # fmt: skip
        stored = iter(teacher_weights or ())
        teachers = [{"source": one, "weights": next(stored, None) if ":" in one else None} for one in teacher]
        result = foldpress.distill(
            student,
            output,
            teacher=teachers,
            data=data,
            task=task,
            judged_output=judged_output,
            checkpoint=checkpoint,
            **options,
        )
        out.show(result.as_json(), *show_stage(result))
