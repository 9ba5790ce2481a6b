"""The command line: one thin function a command. Heavy imports wait until a command needs them."""

from pathlib import Path
from typing import Annotated, Any

import typer

import foldpress
from foldpress.console import checks_table, command, plain_table, verdict_line

app = typer.Typer(
    help="Press a trained PyTorch model into a small, fast ONNX graph, and prove on held-out folds that it is still right.",
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
Seed = Annotated[int, typer.Option(min=0, help="Of the draw of calibration samples.")]
Confidence = Annotated[float | None, typer.Option(min=0.5, max=0.9999, help="Of every bound.")]
MaxDrop = Annotated[float | None, typer.Option(help="Largest drop, on the upper confidence bound.")]
MaxFlips = Annotated[float | None, typer.Option(help="Largest share of changed predictions.")]
MaxClassDrop = Annotated[float | None, typer.Option(help="Largest drop of any class.")]


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
        out.show(report.document, *_shown(report.document), f"reports: {output / 'report.html'}")
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
        _show_stage(out, foldpress.export(source, output, data=data, weights=weights))


@app.command()
def prune(
    graph: Annotated[Path, typer.Argument(help="A float .onnx file.")],
    output: Out, data: Data,
    method: Annotated[str, typer.Option(help="structured, unstructured or 2:4.")] = "structured",
    macs: Annotated[float | None, typer.Option(help="Share of the multiply-accumulates to leave.")] = None,
    parameters: Annotated[float | None, typer.Option(help="Share of the parameters to leave.")] = None,
    sparsity: Annotated[float | None, typer.Option(help="Share of zeros (unstructured).")] = None,
    threshold: Annotated[float | None, typer.Option(help="Largest magnitude that becomes zero (unstructured).")] = None,
    samples: Samples = 512, seed: Seed = 0,
    json: Json = False, quiet: Quiet = False, verbose: Verbose = False,
) -> None:  # fmt: skip
    """Remove channels, repaired by least squares on the data; or single weights."""
    with command(as_json=json, quiet=quiet, verbose=verbose) as out:
        budget: dict[str, Any] = {"macs": macs, "parameters": parameters, "sparsity": sparsity, "threshold": threshold}
        _show_stage(
            out,
            foldpress.prune(graph, output, data=data, method=method, samples=samples, seed=seed, **budget),  # type: ignore[arg-type]
        )


@app.command()
def quantize(
    graph: Annotated[Path, typer.Argument(help="A float .onnx file.")],
    output: Out, data: Data,
    target: Annotated[str, typer.Option(help="auto, x86-vnni, x86, arm, tensorrt or qnn.")] = "auto",
    samples: Samples = 512, seed: Seed = 0,
    json: Json = False, quiet: Quiet = False, verbose: Verbose = False,
) -> None:  # fmt: skip
    """Static int8, calibrated on real samples."""
    with command(as_json=json, quiet=quiet, verbose=verbose) as out:
        _show_stage(out, foldpress.quantize(graph, output, data=data, target=target, samples=samples, seed=seed))


@app.command()
def validate(
    baseline: Annotated[Path, typer.Argument(help="The graph that is right.")],
    artifact: Annotated[Path, typer.Argument(help="The graph that is judged.")],
    data: Data,
    max_drop: MaxDrop = None, max_flips: MaxFlips = None, max_class_drop: MaxClassDrop = None,
    confidence: Confidence = 0.95,
    task: Annotated[str, typer.Option(help="classification, regression or module:callable.")] = "classification",
    json: Json = False, quiet: Quiet = False, verbose: Verbose = False,
) -> None:  # fmt: skip
    """Paired non-inferiority of any two graphs, whoever made them."""
    with command(as_json=json, quiet=quiet, verbose=verbose) as out:
        limits = _given(max_drop=max_drop, max_flips=max_flips, max_class_drop=max_class_drop)
        found = foldpress.validate(
            baseline, artifact, data=data, limits=limits, confidence=confidence or 0.95, task=task
        )
        test = found["accuracy"]["test"]
        summary = (
            f"{found['accuracy']['metric']} {test['baseline']:.4g} → {test['artifact']:.4g} on {test['n']} samples"
        )
        out.show(found, verdict_line(found["verdict"], summary), checks_table(found["checks"]))
    raise typer.Exit(_exit_code(found["verdict"]))


@app.command()
def bench(
    graphs: Annotated[list[Path], typer.Argument(help="Graphs; the first is the reference.")],
    data: Annotated[str | None, typer.Option("--data", "-d", help="Real samples; made up by shape without.")] = None,
    provider: Annotated[list[str], typer.Option("--provider", "-p")] = ["CPUExecutionProvider"],  # noqa: B006
    batch: Annotated[list[int], typer.Option("--batch", "-b", min=1)] = [1],  # noqa: B006
    threads: Annotated[int, typer.Option(min=1)] = 1,
    processes: Annotated[int, typer.Option(min=1, help="Fresh processes to repeat in.")] = 5,
    seconds: Annotated[float, typer.Option(min=0.1, help="Time to spend on each provider and batch.")] = 10.0,
    json: Json = False, quiet: Quiet = False, verbose: Verbose = False,
) -> None:  # fmt: skip
    """Interleaved latency, with ratios and their intervals."""
    with command(as_json=json, quiet=quiet, verbose=verbose) as out:
        rows = foldpress.bench(
            graphs, data=data, providers=provider, batches=batch, threads=threads, processes=processes, seconds=seconds
        )
        out.show(rows, _latency_table(rows))


@app.command()
def gate(
    folder: Annotated[Path, typer.Argument(help="The folder of a finished run.")],
    max_drop: MaxDrop = None, max_flips: MaxFlips = None, max_class_drop: MaxClassDrop = None,
    min_speedup: Annotated[float | None, typer.Option(help="On the lower bound.")] = None,
    max_bytes: Annotated[float | None, typer.Option()] = None,
    max_latency_p90: Annotated[float | None, typer.Option(help="Milliseconds.")] = None,
    confidence: Confidence = None,
    json: Json = False, quiet: Quiet = False, verbose: Verbose = False,
) -> None:  # fmt: skip
    """Judge saved evidence again, perhaps by other limits; runs nothing."""
    with command(as_json=json, quiet=quiet, verbose=verbose) as out:
        limits = _given(max_drop=max_drop, max_flips=max_flips, max_class_drop=max_class_drop, min_speedup=min_speedup,
                        max_bytes=max_bytes, max_latency_p90=max_latency_p90)  # fmt: skip
        found = foldpress.gate(folder, limits=limits, confidence=confidence)
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
        out.show(document, *_shown(document), f"drawn again: {folder / 'report.html'}")


@app.command()
def inspect(
    graph: Annotated[Path, typer.Argument(help="Any .onnx file.")],
    json: Json = False, quiet: Quiet = False, verbose: Verbose = False,
) -> None:  # fmt: skip
    """Operators, parameters, MACs, bytes, sparsity and precision, by layer and in all."""
    with command(as_json=json, quiet=quiet, verbose=verbose) as out:
        found = foldpress.inspect(graph)
        header = ["layer", "operator", "weight", "parameters", "MACs", "bytes", "zeros", "precision"]
        rows = [
            [x["name"], x["operator"], "×".join(map(str, x["weight_shape"])), f"{x['parameters']:,}", _count(x["macs"]),
             f"{x['bytes']:,}", f"{x['sparsity']:.1%}", x["precision"]]
            for x in found["layers"]
        ]  # fmt: skip
        total = f"{found['bytes']:,} bytes, {found['parameters']:,} parameters, {_count(found['macs'])} MACs a sample, "
        operators = ", ".join(f"{count} {name}" for name, count in found["operators"].items())
        out.show(found, plain_table(header, rows), f"{total}{found['sparsity']:.1%} zeros", f"operators: {operators}")


@app.command()
def doctor(json: Json = False, quiet: Quiet = False, verbose: Verbose = False) -> None:
    """Providers, instruction sets, which int8 types are fast here, versions, what is missing and how to get it."""
    with command(as_json=json, quiet=quiet, verbose=verbose) as out:
        found = foldpress.doctor()
        speeds = ", ".join(f"{name} {ratio}×" for name, ratio in found["matmul_speed_over_float32"].items())
        rows = [
            ["processor", f"{found['processor']}, {found['cores']} cores, {found['memory_gb']} GB"],
            ["instruction sets", ", ".join(found["instruction_sets"]) or "none for int8"],
            ["target", f"{found['target']['name']}: {found['target']['why']}"],
            ["product over float32", f"{speeds} (activation × weight, one thread)"],
            ["providers", ", ".join(found["providers"])],
            ["versions", ", ".join(f"{name} {version}" for name, version in found["versions"].items())],
            *(["missing", f"{one['package']}, for {one['needed_for']}: {one['get_it']}"] for one in found["missing"]),
        ]
        out.show(found, *(f"[bold]{name:<22}[/]{_plain(text)}" for name, text in rows))


def _shown(document: dict[str, Any]) -> list[Any]:
    """A run's outcome for a person: every graph, every check, the verdict."""
    from foldpress.benchmark.table import headline, kilobytes, milliseconds, percent, score, summary_rows, times_between

    header = ["graph", "bytes", "parameters", "MACs", "zeros", "p50", "speedup", document["accuracy"]["metric"]]
    rows = [
        [row.name, kilobytes(row.bytes), _count(row.parameters), _count(row.macs), percent(row.sparsity),
         milliseconds(row.p50_ms), times_between(row.speedup, row.speedup_low, row.speedup_high),
         score(row.accuracy, document["accuracy"]["metric"])]
        for row in summary_rows(document)
    ]  # fmt: skip
    detail = headline(document).removeprefix(document["verdict"]).lstrip(" :–—.")
    return [
        plain_table(header, rows),
        "",
        checks_table(document["checks"]),
        "",
        verdict_line(document["verdict"], detail),
    ]


def _show_stage(out: Any, result: Any) -> None:
    lines = [f"{entry['pass']}: {entry['subject']} {entry['action']}: {entry['detail']}" for entry in result.log]
    total = f"{result.output}: {result.bytes:,} bytes, {result.parameters:,} parameters, {_count(result.macs)} MACs"
    out.show(result.as_json(), *(_plain(line) for line in lines), f"{total}, in {result.seconds:.1f} s")


def _latency_table(rows: list[dict[str, Any]]) -> Any:
    from foldpress.benchmark.table import milliseconds, times_between

    header = ["graph", "provider", "batch", "p50", "p90", "p99", "speedup", "load", "peak MB", "runs"]
    return plain_table(
        header,
        [
            [r["graph"], r["provider"], str(r["batch"]), *(milliseconds(r[key]) for key in ("p50_ms", "p90_ms", "p99_ms")),
             times_between(r["speedup"], r["speedup_low"], r["speedup_high"]), milliseconds(r["load_ms"]),
             f"{r['peak_rss_mb']:.0f}" if r["peak_rss_mb"] is not None else "–", str(r["n"])]
            for r in rows
        ],
    )  # fmt: skip


def _given(**limits: float | None) -> dict[str, float]:
    return {name: limit for name, limit in limits.items() if limit is not None}


def _exit_code(verdict: str) -> int:
    from foldpress.benchmark.gate import EXIT_CODES

    return EXIT_CODES[verdict]


def _count(number: int | None) -> str:
    return "–" if number is None else f"{number:,}"


def _plain(text: str) -> str:
    from rich.markup import escape

    return escape(text)
