"""The grid of providers, batch sizes and threads, and how options are written."""

from typing import Any

import pytest

from foldpress.benchmark.plan import latency_plans, read_provider_options
from foldpress.errors import RecipeError, RequestError
from foldpress.recipe import make_recipe
from foldpress.tables.benchmark import BenchmarkTable

OPENVINO, CPU = "OpenVINOExecutionProvider", "CPUExecutionProvider"
WANTED = {OPENVINO: {"device_type": "CPU", "num_streams": "2"}}


def table(**benchmark: Any) -> BenchmarkTable:
    from pathlib import Path

    document = {"model": {"source": "m:build"}, "data": {"source": "d:load"}, "gate": {"max_drop": 0.1}}
    return make_recipe({**document, "benchmark": benchmark}, Path()).benchmark


def test_the_grid_is_every_combination() -> None:
    """Catches a cell left out, or options given to another provider."""
    plans = latency_plans((CPU, OPENVINO), (1, 8), (1, 2), WANTED, seconds=3.0)
    assert [(plan.provider, plan.batch, plan.threads) for plan in plans] == [
        (name, batch, threads) for name in (CPU, OPENVINO) for batch in (1, 8) for threads in (1, 2)
    ]
    assert [plan.provider_options for plan in plans] == [{}] * 4 + [WANTED[OPENVINO]] * 4
    assert {plan.seconds for plan in plans} == {3.0}


@pytest.mark.parametrize(
    "written",
    [
        {"providers": [CPU, {"name": OPENVINO, "options": {"device_type": "CPU", "num_streams": 2}}]},
        {"providers": [CPU, OPENVINO], "provider_options": {OPENVINO: {"device_type": "CPU", "num_streams": 2}}},
    ],
)
def test_options_are_written_in_either_place(written: dict[str, Any]) -> None:
    """Catches options that are read from one of the two places only, or numbers handed over as such."""
    found = table(**written)
    assert (found.providers, found.provider_options) == ((CPU, OPENVINO), WANTED)
    assert found.first_provider() == {"provider": CPU, "provider_options": {}}


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ({"providers": [{"name": OPENVINO, "option": {}}]}, "a name, or a table of name and options"),
        ({"providers": [{"name": OPENVINO, "options": {}}], "provider_options": {OPENVINO: {}}}, "in two places"),
        ({"provider_options": WANTED}, "not among the providers"),
        ({"providers": [CPU, CPU]}, "the same provider twice"),
        ({"threads": [0]}, "greater than or equal to 1"),
        ({"threads": []}, "at least 1 item"),
        ({"half_width": 0}, "greater than 0"),
    ],
)
def test_what_cannot_be_meant_is_refused(written: dict[str, Any], told: str) -> None:
    """Catches options that nobody would ever use, and an empty grid."""
    with pytest.raises(RecipeError, match=told):
        table(**written)


def test_threads_are_one_number_or_a_list() -> None:
    """Catches the old form of the key refused."""
    assert [table(threads=given).threads for given in (2, [1, 2])] == [(2,), (1, 2)]


def test_options_on_the_command_line() -> None:
    """Catches an option of nobody, or given to the wrong provider; a value may hold the separator."""
    assert read_provider_options(["a=1", "b=x=y"], [OPENVINO]) == {OPENVINO: {"a": "1", "b": "x=y"}}
    assert read_provider_options([f"{OPENVINO}:a=1"], [CPU, OPENVINO]) == {OPENVINO: {"a": "1"}}
    for given, told in (("a", "is not KEY=VALUE"), ("a=1", "does not say whose"), ("X:a=1", "X is not asked for")):
        with pytest.raises(RequestError, match=told):
            read_provider_options([given], [CPU, OPENVINO])
