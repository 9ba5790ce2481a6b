"""Where and how latency is taken: the grid of providers, batch sizes and threads. Imports nothing heavy."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any, Literal

from foldpress.errors import RequestError

Options = Mapping[str, str]
Scenario = Literal["SingleStream", "MultiStream", "Server", "Offline"]


@dataclass(frozen=True)
class LatencyPlan:
    """One cell of the grid. `seconds` is spent timing, over all processes together.

    With `half_width`, a share of the ratio, processes are added until there are eight and every ratio's interval is as
    narrow, or until the seconds are up.
    """

    provider: str = "CPUExecutionProvider"
    batch: int = 1
    threads: int = 1
    processes: int = 8
    seconds: float = 10.0
    seed: int = 0
    provider_options: Options = field(default_factory=dict)
    half_width: float | None = None


def latency_plans(
    providers: Sequence[str],
    batches: Sequence[int],
    threads: Sequence[int],
    options: Mapping[str, Options],
    **rest: Any,
) -> list[LatencyPlan]:
    """Every cell of the grid; `options` by provider, `rest` as in `LatencyPlan`."""
    return [
        LatencyPlan(provider, batch, count, provider_options=dict(options.get(provider, {})), **rest)
        for provider, batch, count in product(providers, batches, threads)
    ]


def split_providers(providers: Any, options: Any) -> tuple[Any, Any]:
    """Names and options apart, where a provider is given as `{"name": …, "options": {…}}`; what is no such table stays.

    Raises:
        ValueError: options for the same provider in two places, or a table with other keys.
    """
    if not isinstance(providers, list | tuple) or not isinstance(options, dict):
        return providers, options
    names, found = [], dict(options)
    for one in providers:
        if isinstance(one, dict):
            if "name" not in one or set(one) - {"name", "options"}:
                raise ValueError(f"a provider is a name, or a table of name and options; given: {one}")
            if "options" in one and one["name"] in found:
                raise ValueError(f"options of {one['name']} in two places")
            found |= {one["name"]: one["options"]} if "options" in one else {}
        names.append(one["name"] if isinstance(one, dict) else one)
    return names, found


def read_provider_options(given: Sequence[str], providers: Sequence[str]) -> dict[str, dict[str, str]]:
    """`KEY=VALUE` for the one provider that is asked for, or `PROVIDER:KEY=VALUE`, as options by provider.

    Raises:
        RequestError: neither of the two, or a provider that is not asked for.
    """
    options: dict[str, dict[str, str]] = {}
    for one in given:
        key, separator, value = one.partition("=")
        name, colon, key = key.rpartition(":")
        if not separator or not key:
            raise RequestError(f"--provider-option {one!r} is not KEY=VALUE", mend="for example num_streams=1")
        if not colon and len(providers) > 1:
            raise RequestError(
                f"--provider-option {one!r} does not say whose", mend=f"for example {providers[-1]}:{one}"
            )
        if colon and name not in providers:
            raise RequestError(f"--provider-option {one!r}: {name} is not asked for", available=", ".join(providers))
        options.setdefault(name or providers[0], {})[key] = value
    return options
