"""The recipe: frozen, typed, and no key that is not understood."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from foldpress.errors import RecipeError
from foldpress.recipe import load_recipe, make_recipe, make_table
from foldpress.tables.prune import PruneTable

LEAST: dict[str, Any] = {"model": {"source": "m:build"}, "data": {"source": "d.npz"}, "gate": {"max_drop": 0.01}}


def changed(table: str, **values: Any) -> dict[str, Any]:
    return {**LEAST, table: {**LEAST.get(table, {}), **values}}


def write(folder: Path, text: str = "") -> Path:
    least = '[model]\nsource = "m:build"\n[data]\nsource = "d.npz"\n[gate]\nmax_drop = 0.01\n'
    (folder / "recipe.toml").write_text(least + text)
    return folder / "recipe.toml"


def test_defaults_are_the_contracts() -> None:
    """Catches a default that differs from what the contract promises."""
    recipe = make_recipe(LEAST, Path())
    assert (recipe.folds.splits, recipe.folds.repeats, recipe.folds.test, recipe.folds.seed) == (5, 1, 0.2, 0)
    assert recipe.prune is None
    assert recipe.quantize is not None
    assert (recipe.quantize.target, recipe.quantize.calibration, recipe.quantize.samples) == ("auto", "auto", 512)
    assert (recipe.benchmark.providers, recipe.benchmark.batches) == (("CPUExecutionProvider",), (1,))
    assert (recipe.gate.limits(), recipe.gate.confidence) == ({"max_drop": 0.01}, 0.95)


@pytest.mark.parametrize(
    ("table", "key", "near"),
    [("gate", "max_drp", "did you mean max_drop"), ("folds", "split", "did you mean splits"), ("folds", "zzz", "known: splits"),
     ("quantise", "x", "did you mean quantize"), ("prune", "mac", "did you mean macs")],
)  # fmt: skip
def test_unknown_keys_are_refused_with_the_nearest(table: str, key: str, near: str) -> None:
    """Catches a misspelled limit that silently limits nothing."""
    with pytest.raises(RecipeError, match=near):
        make_recipe(changed(table, **{key: 1}), Path())


@pytest.mark.parametrize(
    ("table", "values"),
    [("folds", {"splits": 1}), ("folds", {"test": 0.0}), ("folds", {"test": 1.0}), ("folds", {"scheme": "random"}),
     ("folds", {"test": float("nan")}), ("gate", {"max_drop": -0.1}), ("gate", {"max_drop": float("nan")}),
     ("gate", {"max_drop": float("inf")}), ("gate", {"confidence": 95}), ("gate", {"confidence": 0.3}),
     ("gate", {"max_bytes": "500 pounds"}), ("gate", {"max_bytes": "nan"}), ("gate", {"max_latency_p90": "-5 ms"}),
     ("benchmark", {"providers": []}), ("benchmark", {"batches": [0]}), ("benchmark", {"seconds": 0}),
     ("data", {"task": "clasification"}), ("quantize", {"samples": 0}), ("quantize", {"target": "x87"})],
)  # fmt: skip
def test_values_out_of_range_are_refused(table: str, values: dict[str, Any]) -> None:
    """Catches a limit that is no number, a split without a test part, a gate that cannot fail."""
    with pytest.raises(RecipeError, match=rf"{table}(\.{next(iter(values))})?: "):
        make_recipe(changed(table, **values), Path())


def test_shared_weights_stay_float_unless_int8_is_asked_for() -> None:
    """Catches codebooks that the default precision takes apart again."""
    assert make_recipe(changed("share", bits=4), Path()).quantize is None
    both = changed("share", bits=4) | {"quantize": {"precision": "static"}}
    assert make_recipe(both, Path()).quantize is not None


@pytest.mark.parametrize(
    ("share", "quantize", "why"),
    [({"bits": 9}, False, "share.bits"), ({"method": "binary", "bits": 4}, False, "has 1 bit; leave bits out"),
     ({"epochs": 2}, False, "goes on with the training of .finetune."),
     ({"epochs": 2, "per": "channel"}, False, "leave method, per and keep_float out"),
     ({}, {}, "precision = 'auto' would round shared values"), ({}, {"precision": "dynamic"}, "'dynamic' would round"),
     ({"per": "channel"}, {"precision": "static"}, 'set per = "tensor"'),
     ({}, {"precision": "static", "weight_passes": "gptq"}, "gptq: they move shared values")],
)  # fmt: skip
def test_what_does_not_go_with_shared_weights(share: dict[str, Any], quantize: Any, why: str) -> None:
    """Catches a codebook that is refused late, or made pointless in silence."""
    with pytest.raises(RecipeError, match=why):
        make_recipe(changed("share", **share) | {"quantize": quantize}, Path())


@pytest.mark.parametrize(
    ("given", "limit"),
    [(500_000, 500_000), ("500 kB", 500_000), ("500kb", 500_000), ("1.5 MB", 1_500_000), ("2 MiB", 2_097_152), ("64", 64)],
)  # fmt: skip
def test_sizes(given: Any, limit: float) -> None:
    """Catches kB read as 1024 bytes, and units that only work in one spelling."""
    assert make_recipe(changed("gate", max_bytes=given), Path()).gate.limits()["max_bytes"] == limit


@pytest.mark.parametrize(("given", "limit"), [("5 ms", 5), ("500 us", 0.5), ("500 µs", 0.5), ("2 s", 2000), (7, 7)])
def test_durations(given: Any, limit: float) -> None:
    """Catches seconds taken for milliseconds."""
    assert make_recipe(changed("gate", max_latency_p90=given), Path()).gate.limits()["max_latency_p90"] == limit


def test_a_gate_without_a_limit_is_refused() -> None:
    """Catches a gate that would let everything through."""
    with pytest.raises(RecipeError, match="no limit is set"):
        make_recipe({**LEAST, "gate": {"confidence": 0.9}}, Path())


@pytest.mark.parametrize(
    ("given", "allowed"),
    [({"macs": 0.8}, True), ({"parameters": 0.8}, True), ({}, False), ({"macs": 0.8, "parameters": 0.8}, False), ({"sparsity": 0.5}, False),
     ({"method": "unstructured", "sparsity": 0.5}, True), ({"method": "unstructured", "macs": 0.5}, False),
     ({"method": "unstructured", "threshold": 0.01}, True), ({"method": "2:4"}, True), ({"method": "2:4", "macs": 0.5}, False),
     ({"latency": 0.7}, True), ({"max_drop": 0.01}, True), ({"latency": 0.7, "macs": 0.8}, False), ({"latency": 1.2}, False),
     ({"max_drop": 0.0}, False), ({"max_drop": float("nan")}, False), ({"method": "2:4", "max_drop": 0.01}, False),
     ({"macs": 0.8, "protect": ("conv1",)}, True), ({"method": "2:4", "protect": ("conv1",)}, False),
     ({"method": "unstructured", "sparsity": 0.5, "layers": {"first": 0.0}}, True), ({"macs": 0.8, "layers": {"first": 0.5}}, False),
     ({"method": "unstructured", "sparsity": 0.5, "layers": {"first": 1.0}}, False),
     ({"method": "unstructured", "threshold": 0.5, "layers": {"first": 2.0}}, True),
     ({"macs": 1.0}, False), ({"macs": 0.0}, False), ({"method": "magic", "macs": 0.5}, False)],
)  # fmt: skip
def test_each_method_takes_its_own_budget(given: dict[str, Any], allowed: bool) -> None:
    """Catches a budget that is ignored by the method that was asked for."""
    if allowed:
        assert make_table(PruneTable, **given).model_dump(exclude_none=True).items() >= given.items()
    else:
        with pytest.raises(RecipeError):
            make_table(PruneTable, **given)


def test_overrides(tmp_path: Path) -> None:
    """Catches an override that is written as text where a number is meant, or that makes a table of its own."""
    path = write(tmp_path)
    recipe = load_recipe(
        path, ["gate.max_drop=0.5", "folds.splits = 3", "benchmark.batches=[1, 8]", "quantize.target=arm"]
    )
    assert (recipe.gate.max_drop, recipe.folds.splits, recipe.benchmark.batches) == (0.5, 3, (1, 8))
    assert recipe.quantize is not None
    assert recipe.quantize.target == "arm"
    for wrong in ("gate.max_drop", "=3", "model.source.x=1", "gate.max_drp=1", "nonsense=1"):
        with pytest.raises(RecipeError):
            load_recipe(path, [wrong])


def test_files(tmp_path: Path) -> None:
    """Catches a traceback for a file that is missing or no TOML, and paths found relative to the working directory."""
    assert load_recipe(write(tmp_path)).folder == tmp_path.resolve()
    assert load_recipe(tmp_path).model.source == "m:build"
    with pytest.raises(RecipeError, match=r"recipe\.toml"):
        load_recipe(tmp_path / "recipes.toml")
    for content in (b"[model", b"\xff\xfe"):
        (tmp_path / "broken.toml").write_bytes(content)
        with pytest.raises(RecipeError, match="is not TOML"):
            load_recipe(tmp_path / "broken.toml")


def test_frozen() -> None:
    """Catches a stage that changes what was asked for."""
    recipe = make_recipe(LEAST, Path())
    with pytest.raises(ValidationError):
        recipe.gate.max_drop = 1.0
