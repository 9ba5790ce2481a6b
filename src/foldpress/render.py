"""What a command's result looks like in a terminal: the same documents that `--json` prints, for a person."""

from typing import Any

from rich.markup import escape

from foldpress.benchmark.table import headline, kilobytes, millions, milliseconds, score, summary_rows, times_between
from foldpress.console import checks_table, plain_table, verdict_line


def show_run(document: dict[str, Any]) -> list[Any]:
    """A run's outcome: every graph, every check, the verdict."""
    metric = document["accuracy"]["metric"]
    header = ["graph", "size", "MACs", "p50", "speedup", metric]  # what 80 columns hold; the reports have the rest
    rows = [
        [row.name, kilobytes(row.bytes), millions(row.macs), milliseconds(row.p50_ms),
         times_between(row.speedup, row.speedup_low, row.speedup_high), score(row.accuracy, metric)]
        for row in summary_rows(document)
    ]  # fmt: skip
    detail = headline(document).removeprefix(document["verdict"]).lstrip(" :–—.")
    checks, verdict = checks_table(document["checks"]), verdict_line(document["verdict"], detail)
    return [plain_table(header, rows), "", checks, "", verdict]


def show_stage(result: Any) -> list[str]:
    """What a stage did and declined, and the file that it left."""
    lines = [f"{entry['pass']}: {entry['subject']} {entry['action']}: {entry['detail']}" for entry in result.log]
    total = f"{result.output}: {result.bytes:,} bytes, {result.parameters:,} parameters, {_count(result.macs)} MACs"
    return [*map(escape, lines), escape(f"{total}, in {result.seconds:.1f} s")]


def show_packed(result: Any) -> list[Any]:
    """What each tensor takes, and the archive."""
    rows = [
        [row["name"], "×".join(map(str, row["shape"])), f"{row['bytes']:,}", f"{row['packed_bytes']:,}",
         f"{row['bits_per_element']:.2f}"] for row in result.tensors
    ]  # fmt: skip
    times = result.unpacked_bytes / result.bytes
    total = f"{result.output}: {result.bytes:,} bytes instead of {result.unpacked_bytes:,}, {times:.2f} times smaller"
    return [plain_table(["tensor", "shape", "bytes", "packed", "bits an element"], rows), escape(total)]


def show_validation(found: dict[str, Any]) -> list[Any]:
    """Both graphs' scores, every check, the verdict."""
    test = found["accuracy"]["test"]
    metric = found["accuracy"]["metric"]
    summary = f"{metric} {test['baseline']:.4g} → {test['artifact']:.4g} on {test['n']} samples"
    return [verdict_line(found["verdict"], summary), checks_table(found["checks"])]


def show_graph(found: dict[str, Any]) -> list[Any]:
    """The layers of a graph, and what it costs in all."""
    header = ["layer", "operator", "weight", "parameters", "MACs", "bytes", "zeros", "precision"]
    rows = [
        [x["name"], x["operator"], "×".join(map(str, x["weight_shape"])), f"{x['parameters']:,}", _count(x["macs"]),
         f"{x['bytes']:,}", f"{x['sparsity']:.1%}", x["precision"]]
        for x in found["layers"]
    ]  # fmt: skip
    total = f"{found['bytes']:,} bytes, {found['parameters']:,} parameters, {_count(found['macs'])} MACs a sample, "
    operators = ", ".join(f"{count} {name}" for name, count in found["operators"].items())
    return [
        plain_table(header, rows),
        f"{total}{found['sparsity']:.1%} zeros",
        f"operators: {operators}",
        escape(f"integer kernels on this CPU: {_kernels(found)}"),
    ]


def _kernels(found: dict[str, Any]) -> str:
    kernels = found["kernels"]
    if kernels is None:
        return f"unknown: {found['kernels_why']}"
    integer = ", ".join(f"{count} {name}" for name, count in kernels["integer"].items())
    return (
        f"{integer or 'none'}; layers in float: {len(kernels['float_layers'])}; conversions: {kernels['conversions']}"
    )


def show_machine(found: dict[str, Any]) -> list[str]:
    """What this machine can do, one line a fact."""
    speeds = ", ".join(f"{name} {ratio}×" for name, ratio in found["matmul_speed_over_float32"].items())
    rows = [
        ["processor", f"{found['processor']}, {found['cores']} cores, {found['memory_gb']} GB"],
        ["instruction sets", ", ".join(found["instruction_sets"]) or "none for int8"],
        ["target", f"{found['target']['name']}: {found['target']['why']}"],
        ["product over float32", f"{speeds} (activation × weight, one thread)"],
        ["providers", ", ".join(found["providers"])],
        *(["absent", f"{provider}: {package}"] for provider, package in found["absent_providers"].items()),
        ["versions", ", ".join(f"{name} {version}" for name, version in found["versions"].items())],
        *(["missing", f"{one['package']}, for {one['needed_for']}: {one['get_it']}"] for one in found["missing"]),
    ]
    return [f"[bold]{name:<22}[/]{escape(text)}" for name, text in rows]


def _count(number: int | None) -> str:
    return "–" if number is None else f"{number:,}"
