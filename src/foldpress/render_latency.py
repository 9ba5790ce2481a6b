"""What `bench` shows in a terminal: latency, and with `--explain` where it goes."""

from collections.abc import Mapping
from typing import Any

from rich.markup import escape

from foldpress.benchmark.table import DASH, count, milliseconds, times_between
from foldpress.console import plain_table

_TOP = 12  # operators and layers that are shown; `--json` has them all
_EXTRA = {"not_fused": "conversions left", "moves": "copies and layouts", "elsewhere": "on another provider"}


def show_latency(rows: list[dict[str, Any]]) -> list[Any]:
    """Quantiles and speedups, one row a graph and setting; and the reference against itself, one line a setting."""
    header = ["graph", "provider", "batch", "threads", "p50", "p90", "p99", "speedup", "load", "peak MB", "runs"]
    table = plain_table(header, [_latency_row(row) for row in rows])
    alone = [escape(_on_device(row)) for row in rows if row["device_only"]]
    return [table, *alone, *dict.fromkeys(escape(_against_itself(row)) for row in rows)]


def _on_device(row: dict[str, Any]) -> str:
    """What is left without the copies between host and device, in words."""
    found = row["device_only"]
    return (
        f"{row['graph']} with inputs and outputs on the {found['device']} device, batch {row['batch']}: "
        f"p50 {milliseconds(found['p50_ms'])}, "
        f"{times_between(found['speedup'], found['speedup_low'], found['speedup_high'])} the speed of the reference there"
    )


def _against_itself(row: dict[str, Any]) -> str:
    """The A/A test of a setting, in words."""
    setting = f"A/A on {row['provider']}, batch {row['batch']}, threads {row['threads']}"
    if row["aa_low"] is None:
        return f"{setting}: no interval ({row['aa_low_why']})"
    verdict = "as it should" if row["aa_low"] <= 1 <= row["aa_high"] else "so no ratio here can be trusted"
    holds = "holds 1" if row["aa_low"] <= 1 <= row["aa_high"] else "does not hold 1"
    return (
        f"{setting}: the reference against itself {row['aa_ratio']:.3f} ({row['aa_low']:.3f}–{row['aa_high']:.3f}), "
        f"which {holds}, {verdict}"
    )


def _latency_row(row: dict[str, Any]) -> list[str]:
    return [
        row["graph"],
        row["provider"],
        str(row["batch"]),
        str(row["threads"]),
        *(milliseconds(row[key]) for key in ("p50_ms", "p90_ms", "p99_ms")),
        times_between(row["speedup"], row["speedup_low"], row["speedup_high"]),
        milliseconds(row["load_ms"]),
        f"{row['peak_rss_mb']:.0f}" if row["peak_rss_mb"] is not None else "–",
        str(row["n"]),
    ]


def show_scenario(rows: list[dict[str, Any]]) -> Any:
    """What LoadGen found, one row a graph and setting."""
    header = ["graph", "scenario", "provider", "batch", "threads", "p50", "p90", "p99", "samples/s", "queries", "valid"]
    return plain_table(
        header,
        [
            [row["graph"], row["scenario"], row["provider"], str(row["batch"]), str(row["threads"]),
             *(milliseconds(row[key]) for key in ("p50_ms", "p90_ms", "p99_ms")), count(row["samples_per_second"]),
             count(row["n"]), "yes" if row["valid"] else f"no: {row['valid_why']}"]
            for row in rows
        ],
    )  # fmt: skip


def show_explanation(found: list[dict[str, Any]]) -> list[Any]:
    """For each setting: operators and the costliest layers of the graphs side by side, and what need not be there."""
    shown: list[Any] = []
    for one in found:
        names = list(one["graphs"])
        operators = [
            [row["operator"], *(f"{row['nodes'][name]} × {_us(row['us'][name])}" if row["nodes"][name] else DASH
                                for name in names)]
            for row in one["operators"][:_TOP]
        ]  # fmt: skip
        layers = [
            [row["layer"], *(f"{row['operator'][name] or ''} {_us(row['us'][name])}".strip() for name in names)]
            for row in one["layers"][:_TOP]
        ]
        shown += [
            f"\nwhere the time goes on {one['provider']}, batch {one['batch']}, threads {one['threads']}",
            plain_table(["operator", *names], operators),
            "",
            plain_table(["costliest nodes", *names], layers),
            "",
            *(escape(_summary(name, graph)) for name, graph in one["graphs"].items()),
        ]
    return shown


def _summary(name: str, graph: Mapping[str, Any]) -> str:
    """What is no part of the network: conversions left over, copies, nodes that ran elsewhere."""
    parts = [
        f"{label}: {len(graph[key])} nodes, {_us(sum(node['us'] for node in graph[key]))}"
        for key, label in _EXTRA.items()
        if graph[key]
    ]
    said = "; ".join(parts) or "nothing left over, copied, or on another provider"
    return f"{name}: a run {_us(graph['run_us'])}, {_us(graph['outside_us'])} of it outside nodes; {said}"


def _us(duration: float | None) -> str:
    return DASH if duration is None else f"{duration:,.1f} µs"
