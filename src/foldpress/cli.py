"""The command line: one thin function a command. Heavy imports wait until a command needs them."""

from pathlib import Path
from typing import Annotated, Any

import typer

import foldpress
from foldpress.benchmark.plan import read_provider_options
from foldpress.console import checks_table, command, verdict_line
from foldpress.render import show_graph, show_machine, show_packed, show_run, show_stage, show_validation
from foldpress.render_latency import show_explanation, show_latency, show_scenario

app = typer.Typer(
    help=foldpress.__doc__,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout, and nothing else there.")]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="No progress.")]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="Log everything; show tracebacks.")]
Data = Annotated[str, typer.Option("--data", "-d", help="An .npz, a folder of .npy, or module:callable.")]
Out = Annotated[Path, typer.Option("--output", "-o", help="The .onnx file to write.")]
Samples = Annotated[int, typer.Option(min=2, help="Calibration samples.")]
KeepMetadata = Annotated[bool, typer.Option("--keep-metadata", help="Leave names, shapes and notes in the file.")]
Seed = Annotated[int, typer.Option(min=0, help="Of the draw of calibration samples.")]
Confidence = Annotated[float | None, typer.Option(min=0.5, max=0.9999, help="Of every bound.")]
Task = Annotated[str, typer.Option(help="What a drop is of: classification, regression or module:callable.")]
MaxDrop = Annotated[float | None, typer.Option(help="Largest drop, on the upper confidence bound.")]
MaxFlips = Annotated[float | None, typer.Option(help="Largest share of changed predictions.")]
MaxClassDrop = Annotated[float | None, typer.Option(help="Largest drop of any class.")]
MaxMetricDrop = Annotated[float | None, typer.Option(help="Largest drop of the whole-set metric.")]


def _version(asked: bool) -> None:
    if asked:
        typer.echo(foldpress.__version__)
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@app.command()
def run(
    recipe: Annotated[Path, typer.Argument(help="A recipe.toml, or the folder that holds it.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to fill.")] = Path("foldpress-run"),
    override: Annotated[list[str], typer.Option("--set", help="KEY=VALUE, for example gate.max_drop=0.02.")] = [],  # noqa: B006
    resume: Annotated[bool, typer.Option("--resume", help="Take over what an earlier run has finished there.")] = False,
    json: Json = False, quiet: Quiet = False, verbose: Verbose = False,
) -> None:  # fmt: skip
    """The whole job: export, prune, quantize, benchmark, k-fold check, gate, report. The exit code is the verdict."""
    with command(as_json=json, quiet=quiet, verbose=verbose) as out:
        report = foldpress.run(foldpress.load_recipe(recipe, override), output, resume=resume)
        _summarize(report.document)
        out.show(report.document, *show_run(report.document), f"reports: {output / 'report.html'}")
    raise typer.Exit(report.exit_code)


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="A new folder.")],
    template: Annotated[str, typer.Option("--from", help="digits, tabular, regression or sequence.")] = "digits",
    json: Json = False, quiet: Quiet = False, verbose: Verbose = False,
) -> None:  # fmt: skip
    """A recipe, a model file and a data file to start from."""
    with command(as_json=json, quiet=quiet, verbose=verbose) as out:
        files = foldpress.init(folder, template)
        out.show(
            {"files": [str(file) for file in files]},
            "\n".join(str(file) for file in files),
            f"next: python {folder / 'train.py'} && foldpress run {folder / 'recipe.toml'}",
        )


@app.command()
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


@app.command()
def prune(
    graph: Annotated[Path, typer.Argument(help="A float .onnx file.")],
    output: Out, data: Data,
    method: Annotated[str, typer.Option(help="structured, unstructured or 2:4.")] = "structured",
    macs: Annotated[float | None, typer.Option(help="Share of the multiply-accumulates to leave.")] = None,
    parameters: Annotated[float | None, typer.Option(help="Share of the parameters to leave.")] = None,
    size: Annotated[float | None, typer.Option("--bytes", help="Share of the weights' bytes to leave.")] = None,
    latency: Annotated[float | None, typer.Option(help="Share of the float32 graph's time to leave, as measured.")] = None,
    max_drop: Annotated[float | None, typer.Option(help="Largest drop on samples that pruning has not seen.")] = None,
    protect: Annotated[list[str] | None, typer.Option(help="A layer whose inputs and outputs all stay.")] = None,
    score: Annotated[str, typer.Option(help="Which channels go first: obs, activation, magnitude or l1.")] = "obs",
    task: Task = "classification",
    sparsity: Annotated[float | None, typer.Option(help="Share of zeros (unstructured).")] = None,
    threshold: Annotated[float | None, typer.Option(help="Largest magnitude that becomes zero (unstructured).")] = None,
    samples: Samples = 512, seed: Seed = 0,
    keep_metadata: KeepMetadata = False,
    json: Json = False, quiet: Quiet = False, verbose: Verbose = False,
) -> None:  # fmt: skip
    """Remove channels, repaired by least squares on the data; or single weights."""
    with command(as_json=json, quiet=quiet, verbose=verbose) as out:
        budget: dict[str, Any] = {"macs": macs, "parameters": parameters, "bytes": size, "latency": latency,
                                  "max_drop": max_drop, "sparsity": sparsity, "threshold": threshold, "score": score}  # fmt: skip
        result = foldpress.prune(graph, output, data=data, method=method, protect=protect or (), task=task,  # type: ignore[arg-type]
                                 samples=samples, seed=seed, keep_metadata=keep_metadata, **budget)  # fmt: skip
        out.show(result.as_json(), *show_stage(result))


@app.command()
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


@app.command()
def validate(
    baseline: Annotated[Path, typer.Argument(help="The graph that is right.")],
    artifact: Annotated[Path, typer.Argument(help="The graph that is judged.")],
    data: Data,
    max_drop: MaxDrop = None, max_flips: MaxFlips = None, max_class_drop: MaxClassDrop = None,
    max_metric_drop: MaxMetricDrop = None,
    confidence: Confidence = 0.95,
    task: Task = "classification",
    metric: Annotated[str | None, typer.Option(help="Of the whole set, beside it: f1, auc or module:callable.")] = None,
    judged_output: Annotated[str | None, typer.Option(help="The output that the targets belong to, by name or position: "
                                                      "the first.")] = None,
    json: Json = False, quiet: Quiet = False, verbose: Verbose = False,
) -> None:  # fmt: skip
    """Paired non-inferiority of any two graphs, whoever made them."""
    with command(as_json=json, quiet=quiet, verbose=verbose) as out:
        limits = _given(max_drop=max_drop, max_flips=max_flips, max_class_drop=max_class_drop,
                        max_metric_drop=max_metric_drop)  # fmt: skip
        found = foldpress.validate(
            baseline, artifact, data=data, limits=limits, confidence=confidence or 0.95, task=task,
            metric=metric, judged_output=judged_output,
        )  # fmt: skip
        _summarize(found)
        out.show(found, *show_validation(found))
    raise typer.Exit(_exit_code(found["verdict"]))


@app.command()
def bench(
    graphs: Annotated[list[Path], typer.Argument(help="Graphs; the first is the reference.")],
    data: Annotated[str | None, typer.Option("--data", "-d", help="Real samples; made up by shape without.")] = None,
    provider: Annotated[list[str], typer.Option("--provider", "-p")] = ["CPUExecutionProvider"],  # noqa: B006
    batch: Annotated[list[int], typer.Option("--batch", "-b", min=1)] = [1],  # noqa: B006
    threads: Annotated[list[int], typer.Option(min=1, help="Within an operator; may be repeated.")] = [1],  # noqa: B006
    processes: Annotated[int, typer.Option(min=1, help="Fresh processes to repeat in.")] = 8,
    seconds: Annotated[float, typer.Option(min=0.1, max=3600, help="Time for each provider, batch and threads.")] = 10.0,
    half_width: Annotated[float | None, typer.Option(min=0.0001, max=1, help="Add processes until every ratio's interval "
                                                     "is within this share, or the time is up.")] = None,
    provider_option: Annotated[list[str] | None, typer.Option(help="KEY=VALUE, or PROVIDER:KEY=VALUE.")] = None,
    scenario: Annotated[str | None, typer.Option(help="MLPerf's SingleStream, MultiStream, Server or Offline instead, by "
                                                 "LoadGen.")] = None,
    target_qps: Annotated[float | None, typer.Option(min=0.001, help="Server: samples a second that arrive.")] = None,
    max_latency_ms: Annotated[float | None, typer.Option(min=0.001, help="Server: what p99 must stay within.")] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Instead, node by node, where the time goes.")] = False,
    json: Json = False, quiet: Quiet = False, verbose: Verbose = False,
) -> None:  # fmt: skip
    """Interleaved latency, with ratios and their intervals."""
    with command(as_json=json, quiet=quiet, verbose=verbose) as out:
        options = read_provider_options(provider_option or (), provider)
        if scenario is not None:
            from foldpress import timing

            rows = timing.scenario(
                scenario, graphs, data=data, providers=provider, batches=batch, threads=threads, seconds=seconds,  # type: ignore[arg-type]
                provider_options=options, target_qps=target_qps, max_latency_ms=max_latency_ms,
            )  # fmt: skip
            out.show(rows, show_scenario(rows))
            return
        if explain:
            found = foldpress.explain(
                graphs, data=data, providers=provider, batches=batch, threads=threads, provider_options=options
            )
            out.show({"explain": found}, *show_explanation(found))
            return
        rows = foldpress.bench(
            graphs, data=data, providers=provider, batches=batch, threads=threads, processes=processes, seconds=seconds,
            half_width=half_width, provider_options=options,
        )  # fmt: skip
        out.show(rows, *show_latency(rows))


@app.command()
def gate(
    folder: Annotated[Path, typer.Argument(help="The folder of a finished run.")],
    max_drop: MaxDrop = None, max_flips: MaxFlips = None, max_class_drop: MaxClassDrop = None,
    max_metric_drop: MaxMetricDrop = None,
    min_speedup: Annotated[float | None, typer.Option(help="On the lower bound.")] = None,
    max_bytes: Annotated[float | None, typer.Option()] = None,
    max_latency_p90: Annotated[float | None, typer.Option(help="Milliseconds.")] = None,
    max_disagreement: Annotated[float | None, typer.Option(help="Largest share that changes with how it is run.")] = None,
    confidence: Confidence = None,
    baseline: Annotated[Path | None, typer.Option(help="The last release's report.json, in its run's folder.")] = None,
    max_drop_since: Annotated[float | None, typer.Option(help="Largest drop since then, on the upper bound.")] = None,
    max_growth: Annotated[float | None, typer.Option(help="Largest share of bytes gained since then.")] = None,
    max_slowdown: Annotated[float | None, typer.Option(help="Largest share of speed lost since then.")] = None,
    json: Json = False, quiet: Quiet = False, verbose: Verbose = False,
) -> None:  # fmt: skip
    """Judge saved evidence again, perhaps by other limits or against the last release; runs nothing."""
    from foldpress.saved import judge_saved

    with command(as_json=json, quiet=quiet, verbose=verbose) as out:
        limits = _given(max_drop=max_drop, max_flips=max_flips, max_class_drop=max_class_drop,
                        max_metric_drop=max_metric_drop, min_speedup=min_speedup,
                        max_bytes=max_bytes, max_latency_p90=max_latency_p90, max_disagreement=max_disagreement)  # fmt: skip
        since = _given(max_drop_since=max_drop_since, max_growth=max_growth, max_slowdown=max_slowdown)
        document = judge_saved(folder, limits, confidence, baseline, since)
        _summarize(document)
        found = {key: document[key] for key in ("verdict", "checks")}
        out.show(found, verdict_line(found["verdict"], str(folder)), checks_table(found["checks"]))
    raise typer.Exit(_exit_code(found["verdict"]))


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(help="The folder of a finished run.")],
    json: Json = False, quiet: Quiet = False, verbose: Verbose = False,
) -> None:  # fmt: skip
    """Draw the reports again from saved evidence."""
    with command(as_json=json, quiet=quiet, verbose=verbose) as out:
        document = foldpress.report(folder)
        out.show(document, *show_run(document), f"drawn again: {folder / 'report.html'}")


@app.command()
def inspect(
    graph: Annotated[Path, typer.Argument(help="Any .onnx file.")],
    json: Json = False, quiet: Quiet = False, verbose: Verbose = False,
) -> None:  # fmt: skip
    """Operators, parameters, MACs, bytes, sparsity and precision, by layer and in all."""
    with command(as_json=json, quiet=quiet, verbose=verbose) as out:
        found = foldpress.inspect(graph)
        out.show(found, *show_graph(found))


@app.command()
def pack(
    graph: Annotated[Path, typer.Argument(help="Any .onnx file.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The .fpz file to write.")] = None,
    json: Json = False, quiet: Quiet = False, verbose: Verbose = False,
) -> None:  # fmt: skip
    """One small archive of a graph and its weights, entropy-coded; `unpack` gives the same bytes again."""
    with command(as_json=json, quiet=quiet, verbose=verbose) as out:
        result = foldpress.pack(graph, output)
        out.show(result.as_json(), *show_packed(result))


@app.command()
def unpack(
    archive: Annotated[Path, typer.Argument(help="An .fpz file.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The .onnx file to write.")] = None,
    json: Json = False, quiet: Quiet = False, verbose: Verbose = False,
) -> None:  # fmt: skip
    """The .onnx file that was packed, byte for byte."""
    with command(as_json=json, quiet=quiet, verbose=verbose) as out:
        written = foldpress.unpack(archive, output)
        out.show({"output": str(written), "bytes": written.stat().st_size}, f"{written}: the bytes that were packed")


@app.command()
def doctor(json: Json = False, quiet: Quiet = False, verbose: Verbose = False) -> None:
    """Providers, instruction sets, which int8 types are fast here, versions, what is missing and how to get it."""
    with command(as_json=json, quiet=quiet, verbose=verbose) as out:
        found = foldpress.doctor()
        out.show(found, *show_machine(found))


def _given(**limits: float | None) -> dict[str, float]:
    return {name: limit for name, limit in limits.items() if limit is not None}


def _summarize(document: dict[str, Any]) -> None:
    from foldpress.benchmark.summary import append_summary

    append_summary(document)


def _exit_code(verdict: str) -> int:
    from foldpress.benchmark.gate import EXIT_CODES

    return EXIT_CODES[verdict]
